"""Git hosting: repositories on disk, and the smart HTTP protocol over the real git."""
