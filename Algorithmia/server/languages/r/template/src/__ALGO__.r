# Calls begin at algorithm, with the request's body as input: a string (text), a raw vector (binary), or JSON: an array
# of values of one kind is a vector, any other array a list, an object a named list. Return the result; a raw vector is
# binary, a vector of one value that value (I(x) keeps it an array). stop() is the call's error; a condition with a
# member error_type names the error's type: stop(errorCondition("no such thing", error_type = "UnsupportedError")).
algorithm <- function(input) {
  paste("hello", input)
}

# What load returns is made once, when the process starts, and is then the second argument of every algorithm():
#
#   load <- function() readRDS("model.rds")
#   algorithm <- function(input, model) predict(model, input)
