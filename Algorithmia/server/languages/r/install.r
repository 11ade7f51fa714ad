# Installs what packages.txt names:   Rscript install.r packages.txt LIBRARY
#
# A line is a package of CRAN; or -t URL of a package's archive; or -g OWNER/REPOSITORY on GitHub; or -e and R code.
arguments <- commandArgs(trailingOnly = TRUE)
library_path <- arguments[[2L]]
.libPaths(c(library_path, .libPaths()))
options(
  repos = c(CRAN = Sys.getenv("CRAN_MIRROR", "https://cloud.r-project.org")),
  Ncpus = max(1L, parallel::detectCores(), na.rm = TRUE), warn = 1
)

fail <- function(...) {
  writeLines(paste0(...), stderr())
  quit("no", 1L, FALSE)
}

has <- function(package) requireNamespace(package, quietly = TRUE)

install <- function(package) {
  if (has(package)) return(writeLines(paste0(package, " is there: ", utils::packageVersion(package))))
  utils::install.packages(package, lib = library_path)
  if (!has(package)) fail("packages.txt: ", package, " could not be installed")
}

lines <- trimws(readLines(arguments[[1L]], warn = FALSE, encoding = "UTF-8"))
for (line in lines[nzchar(lines) & !startsWith(lines, "#")]) {
  writeLines(paste("==", line))
  words <- strsplit(line, "[[:space:]]+")[[1L]]
  if (length(words) == 1L && !startsWith(line, "-")) {
    install(line)
  } else if (words[[1L]] == "-t" && length(words) == 2L) {
    package <- sub("_.*|\\.tar\\.gz$", "", basename(words[[2L]]))
    utils::install.packages(words[[2L]], lib = library_path, repos = NULL, type = "source")
    if (!has(package)) fail("packages.txt: ", words[[2L]], " could not be installed")
  } else if (words[[1L]] == "-g" && length(words) == 2L) {
    install("remotes")
    remotes::install_github(words[[2L]], lib = library_path, upgrade = "never")
  } else if (words[[1L]] == "-e" && length(words) > 1L) {
    eval(parse(text = sub("^-e[[:space:]]+", "", line)), globalenv())
  } else {
    fail("packages.txt: this line is not understood: ", line)
  }
}
