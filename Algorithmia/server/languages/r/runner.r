# What an R process of an algorithm executes: sources the project, then answers one request line at a time.
#
#     Rscript runner.r ENTRY          (in the project's directory; ENTRY such as src/Hello.r)
#
# Requests come as lines of JSON on standard input; answers go into the FIFO that ALGORITHMIA_OUTPUT_FIFO names.
# All names of this file live in an environment of their own, so that the project's, in the global one, can't hide them.
options(warn = 1, keep.source = TRUE)
local(envir = new.env(parent = baseenv()), expr = {

fifo_path <- Sys.getenv("ALGORITHMIA_OUTPUT_FIFO", "/tmp/algoout")
root <- paste0(getwd(), "/")
this_file <- "" # as the file that Rscript runs is called where calls are recorded

problem <- function(message, error_type) {
  structure(class = c("error", "condition"), list(message = message, call = NULL, error_type = error_type))
}

# --- JSON to values: as the packages for old R algorithms did it, an array of scalars of one kind is a vector, any
# other array a list; an object is a named list.

simplified <- function(value) {
  # Numbers are doubles: integers of R overflow.
  if (!is.list(value)) return(if (is.integer(value)) as.double(value) else value)
  is_object <- !is.null(names(value))
  scalar <- vapply(value, function(item) !is.list(item) && !is.null(item), NA)
  if (is_object || !length(value) || !all(scalar)) {
    value[] <- lapply(value, simplified)
    return(value)
  }
  kinds <- vapply(value, typeof, "")
  kinds[kinds == "integer"] <- "double"
  if (all(kinds == kinds[[1L]])) simplified(unlist(value, use.names = FALSE)) else lapply(value, simplified)
}

decoded <- function(line) {
  if (!validUTF8(line)) stop(problem("the request is not UTF-8", "ParsingError"))
  request <- tryCatch(
    jsonlite::parse_json(line, simplifyVector = FALSE),
    error = function(e) {
      stop(problem(paste0("the request is not a line of JSON: ", conditionMessage(e)), "ParsingError"))
    }
  )
  if (!is.list(request) || !all(c("content_type", "data") %in% names(request))) {
    stop(problem("the request must be an object with the members content_type and data", "ParsingError"))
  }
  data <- request[["data"]]
  content_type <- request[["content_type"]]
  if (identical(content_type, "text") || identical(content_type, "json")) {
    simplified(data)
  } else if (!identical(content_type, "binary")) {
    stop(problem(paste0("unknown content_type: ", paste(content_type, collapse = " ")), "ParsingError"))
  } else if (!is.character(data)) {
    stop(problem("binary data must be a base64 string", "ParsingError"))
  } else if (nzchar(data)) {
    jsonlite::base64_dec(data)
  } else {
    raw(0L)
  }
}

# --- Values to JSON. jsonlite's own writer rounds numbers and renames empty names.

unwritable <- function(reason) {
  stop(problem(paste0("the result can't be written as JSON: ", reason), "AlgorithmError"))
}

quoted <- function(text) {
  if (!all(validEnc(text))) unwritable("it holds text that is not UTF-8; return a raw vector")
  text <- enc2utf8(text)
  result <- gsub("\\", "\\\\", text, fixed = TRUE)
  result <- gsub("\"", "\\\"", result, fixed = TRUE)
  for (code in which(vapply(1:31, function(code) any(grepl(intToUtf8(code), result, fixed = TRUE)), NA))) {
    result <- gsub(intToUtf8(code), sprintf("\\u%04x", code), result, fixed = TRUE)
  }
  ifelse(is.na(text), "null", paste0("\"", result, "\""))
}

numbers <- function(values) {
  if (is.integer(values)) {
    text <- formatC(values, format = "d", width = 1L)
  } else {
    values <- as.double(values)
    if (any(is.nan(values) | is.infinite(values))) unwritable("it holds NaN or infinity, which JSON cannot express")
    text <- formatC(values, digits = 15L, format = "g", width = 1L)
    # Most numbers are told apart by 15 digits; the others need 17.
    inexact <- !is.na(values) & as.double(text) != values
    text[inexact] <- formatC(values[inexact], digits = 17L, format = "g", width = 1L)
  }
  text[is.na(values)] <- "null"
  text
}

atoms <- function(value) {
  switch(typeof(value),
    logical = ifelse(is.na(value), "null", ifelse(value, "true", "false")),
    integer = ,
    double = numbers(value),
    character = quoted(value),
    unwritable(paste0("it holds a value of type ", typeof(value)))
  )
}

members <- function(keys, values) paste0("{", paste0(quoted(keys), ":", values, collapse = ","), "}")
elements <- function(values) paste0("[", paste0(values, collapse = ","), "]")

encoded <- function(value) {
  if (is.null(value)) return("null")
  as_array <- inherits(value, "AsIs")
  if (is.factor(value) || inherits(value, "Date")) value <- as.character(value)
  if (inherits(value, "POSIXt")) value <- format(value, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  if (is.matrix(value)) {
    return(elements(vapply(seq_len(nrow(value)), function(i) encoded(I(unname(value[i, ]))), "")))
  }
  keys <- names(value)
  if (is.list(value)) {
    # unclass: what [[ gives for a class is its own affair
    parts <- vapply(unclass(value), encoded, "", USE.NAMES = FALSE)
    if (is.null(keys)) elements(parts) else if (length(parts)) members(keys, parts) else "{}"
  } else {
    parts <- atoms(value)
    if (!is.null(keys)) members(keys, parts)
    else if (length(parts) == 1L && !as_array) parts
    else elements(parts)
  }
}

answered <- function(value) {
  if (is.raw(value)) {
    content_type <- "binary"
    text <- paste0("\"", gsub("\n", "", if (length(value)) jsonlite::base64_enc(value) else "", fixed = TRUE), "\"")
  } else {
    is_text <- is.character(value) && length(value) == 1L && !is.na(value) && is.null(names(value)) &&
      !inherits(value, "AsIs")
    content_type <- if (is_text) "text" else "json"
    text <- encoded(value)
  }
  paste0("{\"result\":", text, ",\"metadata\":{\"content_type\":\"", content_type, "\"}}")
}

# --- Errors

file_of <- function(call) {
  source <- attr(call, "srcref")
  if (is.null(source)) NA_character_ else attr(source, "srcfile")$filename
}

# The calls that led to an error, innermost last, as its author knows them: what comes after the last call made here.
traced <- function(calls) {
  files <- vapply(calls, file_of, "")
  ours <- which(files == this_file)
  calls <- calls[seq_along(calls) > max(0L, ours)]
  lines <- vapply(calls, function(call) {
    text <- paste(deparse(call, nlines = 3L), collapse = " ")
    file <- file_of(call)
    if (is.na(file)) return(text)
    if (startsWith(file, root)) file <- substring(file, nchar(root) + 1L)
    paste0(file, "#", attr(call, "srcref")[[1L]], ": ", text)
  }, "")
  paste(lines, collapse = "\n")
}

failure <- function(error, calls, error_type) {
  own <- if (is.list(error)) unclass(error)[["error_type"]]
  if (is.character(own) && length(own) == 1L && !is.na(own) && nzchar(own)) error_type <- own
  legible <- function(text) {
    text <- paste(iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "byte"), collapse = "\n")
    encoded(substr(text, 1L, 100000L))
  }
  parts <- c(legible(conditionMessage(error)), legible(calls), legible(error_type))
  paste0("{\"error\":", members(c("message", "stacktrace", "error_type"), parts), "}")
}

# What `action` returns, or what `otherwise(error, trace)` makes of its error.
attempt <- function(action, otherwise) {
  calls <- ""
  tryCatch(
    withCallingHandlers(action(), error = function(e) {
      # The last two are those of signalling.
      calls <<- tryCatch(traced(utils::head(sys.calls(), -2L)), error = function(e) "")
    }),
    error = function(e) otherwise(e, calls)
  )
}

unloadable <- function(error, calls) {
  writeLines(c(paste("Error:", conditionMessage(error)), calls), stderr())
  # For whoever listens already; waits for nobody.
  try(suppressWarnings({
    pipe <- fifo(fifo_path, "w", blocking = FALSE)
    writeLines(failure(error, calls, "LoadingError"), pipe, useBytes = TRUE)
    close(pipe)
  }), silent = TRUE)
  quit("no", 1L, FALSE)
}

# --- The algorithm

registered <- NULL

# As the package algorithmia has it, for projects that end with getAlgorithmHandler(algorithm, load)$serve().
handler <- function(applyfunc, onLoadMethod = NULL, pipe = "stdin") {
  list(serve = function() registered <<- list(apply = applyfunc, load = onLoadMethod))
}

found <- function(name) get0(name, envir = globalenv(), mode = "function", inherits = FALSE)

loaded <- function(entry) {
  assign("getAlgorithmHandler", handler, envir = globalenv())
  source(entry, local = globalenv(), encoding = "UTF-8", keep.source = TRUE)
  algorithm <- registered
  if (is.null(algorithm)) {
    algorithm <- list(apply = found("algorithm"), load = found("load"))
    if (is.null(algorithm$apply)) algorithm$apply <- found("apply")
  }
  if (is.null(algorithm$apply)) stop(problem(paste(entry, "defines no function algorithm"), "LoadingError"))
  state <- if (!is.null(algorithm$load)) algorithm$load()
  apply <- algorithm$apply
  takes_state <- length(formals(args(apply))) > 1L
  if (is.null(state) || !takes_state) function(input) apply(input) else function(input) apply(input, state)
}

serve <- function(apply) {
  requests <- file("stdin", "rb")
  repeat {
    line <- readLines(requests, n = 1L, warn = FALSE, encoding = "UTF-8", skipNul = TRUE)
    if (!length(line)) break
    answer <- attempt(
      function() {
        input <- decoded(line)
        answered(apply(input))
      },
      function(error, calls) failure(error, calls, "AlgorithmError")
    )
    flush(stdout())
    pipe <- file(fifo_path, "wb", raw = TRUE)
    writeLines(answer, pipe, useBytes = TRUE)
    close(pipe)
  }
}

entry <- commandArgs(trailingOnly = TRUE)[[1L]]
apply <- attempt(function() loaded(entry), unloadable)
writeLines("PIPE_INIT_COMPLETE")
flush(stdout())
serve(apply)

})
