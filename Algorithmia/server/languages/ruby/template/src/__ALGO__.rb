# Calls begin at apply, with the request's body as input: a string (text), a string of binary encoding (binary) or any
# JSON value. Return the result; a string of binary encoding (text.b) is binary. An exception is the call's error; its
# method error_type, if it has one, names the error's type, otherwise its class does.
def apply(input)
  "hello #{input}"
end

# What load returns is made once, when the process starts, and is then the second argument of every apply:
#
#     def load
#       { model: JSON.parse(File.read('model.json')) }
#     end
#
#     def apply(input, state)
