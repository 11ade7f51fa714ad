source("src/__ALGO__.r")

stopifnot(identical(algorithm("Jane"), "hello Jane"))
writeLines("ok")
