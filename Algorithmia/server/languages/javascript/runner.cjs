// What a Node process of an algorithm executes: loads the project, then answers one request line at a time.
//
//     node runner.cjs ENTRY          (in the project's directory; ENTRY such as src/Hello.js)
//
// Requests come as lines of JSON on standard input; answers go into the FIFO that ALGORITHMIA_OUTPUT_FIFO names.
"use strict";

const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");
const { TextDecoder, types } = require("util");

const FIFO = process.env.ALGORITHMIA_OUTPUT_FIFO || "/tmp/algoout";
const ROOT = process.cwd() + path.sep;
const MAX_MESSAGE = 100000;
const MAX_TRACE = 400000;
const { stringify, parse } = JSON;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class ParsingError extends Error {}

function decode(line) {
    let request;
    try {
        request = parse(decoder.decode(line));
    } catch (error) {
        throw new ParsingError("the request is not a line of JSON: " + error.message);
    }
    if (request === null || typeof request !== "object" || !("data" in request)) {
        throw new ParsingError("the request must be an object with the members content_type and data");
    }
    switch (request.content_type) {
        case "text":
        case "json":
            return request.data;
        case "binary":
            if (typeof request.data === "string") return Buffer.from(request.data, "base64");
            throw new ParsingError("binary data must be a base64 string");
        default:
            throw new ParsingError("unknown content_type: " + stringify(request.content_type));
    }
}

// For JSON.stringify: halves of surrogate pairs are no text that others could read.
function wellFormed(_, value) {
    return typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
}

function encode(result) {
    let contentType = "json";
    if (types.isAnyArrayBuffer(result)) result = Buffer.from(result);
    if (ArrayBuffer.isView(result)) {
        contentType = "binary";
        result = Buffer.from(result.buffer, result.byteOffset, result.byteLength).toString("base64");
    } else if (typeof result === "string") {
        contentType = "text";
    }
    let text;
    try {
        text = stringify(result === undefined ? null : result);
        if (text !== undefined && text.includes("\\ud")) text = stringify(result, wellFormed);
    } catch (error) {
        throw new TypeError("the result can't be written as JSON: " + error.message);
    }
    if (text === undefined) throw new TypeError("the result can't be written as JSON: it is a " + typeof result);
    return `{"result":${text},"metadata":{"content_type":"${contentType}"}}`;
}

function describe(error, defaultType) {
    const isError = types.isNativeError(error) || error instanceof Error;
    const members = { message: "", stacktrace: "[None]", error_type: defaultType };
    try {
        members.message = String(isError || (error && error.message) ? error.message : error);
        if (isError) members.stacktrace = trace(error);
        const kind = error && (error.error_type || error.errorType);
        if (typeof kind === "string" && kind) members.error_type = kind;
        if (!members.message) members.message = (error && error.name) || "Error";
    } catch (_) { // an error may fail to describe itself
        members.message = members.message || "the algorithm threw something that can't be shown";
    }
    members.message = members.message.slice(0, MAX_MESSAGE);
    return stringify({ error: members }, wellFormed);
}

// The stack as its author knows it: paths below the project, nothing of this file or of Node's own machinery.
function trace(error) {
    const parts = [];
    for (let cause = error; cause && typeof cause.stack === "string" && parts.length < 10; cause = cause.cause) {
        const lines = cause.stack.split("\n").filter(
            (line) => !/^\s+at /.test(line) || !(line.includes(__filename) || line.includes("node:internal/")),
        );
        parts.push((parts.length ? "Caused by: " : "") + lines.join("\n"));
    }
    return parts.join("\n").split("file://" + ROOT).join("").split(ROOT).join("").slice(0, MAX_TRACE);
}

function write(flags, text) {
    const pipe = fs.openSync(FIFO, flags);
    try {
        const bytes = Buffer.from(text + "\n");
        for (let done = 0; done < bytes.length; ) done += fs.writeSync(pipe, bytes, done);
    } finally {
        fs.closeSync(pipe);
    }
}

// Ends what is running, loading or a call, with an error; null while nothing is.
let fail = null;

// What nobody caught belongs to the call during which it happened: a callback that threw, say.
process.on("uncaughtException", (error) => {
    if (fail) fail(error);
    else console.error(error);
});

function unloadable(error) {
    const answer = describe(error, "LoadingError");
    console.error(parse(answer).error.stacktrace);
    try { // for whoever listens already; waits for nobody
        write(fs.constants.O_WRONLY | fs.constants.O_NONBLOCK, answer);
    } catch (_) {}
    process.exit(1);
}

async function load(entry) {
    const namespace = await import(pathToFileURL(path.resolve(entry)).href);
    const whole = namespace.default; // what a CommonJS module exports
    const named = (name) => {
        for (const holder of [whole, namespace]) {
            const found = holder && holder[name];
            if (typeof found === "function" && found !== Function.prototype[name]) return found.bind(holder);
        }
        return undefined;
    };
    const apply = named("apply") || (typeof whole === "function" ? whole : undefined);
    if (!apply) throw new Error(`${entry} exports no function apply`);
    const loader = named("load");
    return { apply, state: loader && (await loader()) };
}

// Calls back with the value: returned, promised, or given to the callback that `apply` has a parameter for.
function call({ apply, state }, input, done) {
    const parameters = state === undefined ? [input] : [input, state];
    const takesCallback = apply.length > parameters.length;
    if (takesCallback) parameters.push((error, result) => (error ? fail(error) : done(result)));
    const returned = apply(...parameters);
    if (returned && typeof returned.then === "function") {
        returned.then((value) => {
            if (!takesCallback || value !== undefined) done(value);
        }, (error) => fail(error));
    } else if (!takesCallback) {
        done(returned);
    }
}

function serve(algorithm) {
    const waiting = [];
    let isBusy = false;

    function next() {
        if (isBusy || !waiting.length) return;
        isBusy = true;
        let isOpen = true;
        const settle = (encoder) => {
            if (!isOpen) return; // called back twice
            isOpen = false;
            fail = null;
            let answer;
            try {
                answer = encoder();
            } catch (error) {
                answer = describe(error, "AlgorithmError");
            }
            try {
                write("w", answer);
            } catch (error) { // nobody can be told
                console.error(error);
                process.exit(1);
            }
            isBusy = false;
            setImmediate(next);
        };
        fail = (error) => settle(() => describe(error, error instanceof ParsingError ? "ParsingError" : "AlgorithmError"));
        try {
            call(algorithm, decode(waiting.shift()), (result) => settle(() => encode(result)));
        } catch (error) {
            fail && fail(error);
        }
    }

    let pieces = [];
    process.stdin.on("data", (chunk) => {
        for (let end; (end = chunk.indexOf(10)) >= 0; chunk = chunk.subarray(end + 1)) {
            pieces.push(chunk.subarray(0, end));
            waiting.push(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces));
            pieces = [];
        }
        if (chunk.length) pieces.push(chunk);
        next();
    });
    process.stdin.on("end", () => process.exit(0));
}

fail = unloadable;
load(process.argv[2]).then((algorithm) => {
    fail = null;
    serve(algorithm);
    process.stdout.write("PIPE_INIT_COMPLETE\n");
}, unloadable);
