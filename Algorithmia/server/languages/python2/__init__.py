"""Python 2: for algorithms that still are written in it."""
