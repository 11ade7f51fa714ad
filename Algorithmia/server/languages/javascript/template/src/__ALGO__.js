// Calls begin at apply, with the request's body as `input`: a string (text), a Buffer (binary) or any JSON value.
// Return the result, or a promise of it; a Buffer is binary. What is thrown is the call's error; its member
// error_type, if it has one, is the error's type.
exports.apply = function (input) {
    return "hello " + input;
};

// What load returns is made once, when the process starts, and is then the second argument of every apply:
//
//     exports.load = async () => ({ model: await read("model.json") });
//     exports.apply = (input, state) => state.model.predict(input);
