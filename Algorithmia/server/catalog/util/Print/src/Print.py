"""Prints to standard output and standard error: for trying out how output is captured."""
from __future__ import print_function

import sys

from Algorithmia import ADK


def apply(input):
    """Prints the input to both streams and returns how many lines that were."""
    text = input if isinstance(input, str) else repr(input)
    lines = text.splitlines() or [""]
    for line in lines:
        print(line)
    for line in lines:
        print(line, file=sys.stderr)
    return {"stdout": len(lines), "stderr": len(lines)}


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init("one\ntwo")
