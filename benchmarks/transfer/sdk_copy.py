"""A program that moves a file or a directory by the SDK: ``python sdk_copy.py file|directory up|down URI PATH``.

Exit status 1 and a line for an error of the SDK; anything else that it raises is a traceback.
"""

from __future__ import annotations

import sys

import Algorithmia
from Algorithmia.errors import ApiError


def main() -> int:
    kind, way, uri, path = sys.argv[1:]
    client = Algorithmia.client()
    place = client.file(uri) if kind == "file" else client.dir(uri)
    try:
        moved = place.upload(path) if way == "up" else place.download(path)
    except (ApiError, OSError) as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print(moved)
    return 0


if __name__ == "__main__":
    sys.exit(main())
