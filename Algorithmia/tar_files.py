"""Plain files in tar archives that are wholly in memory, read without trust and written; client and platform alike.

The standard library's reader is made for archives that one trusts: most versions of it go round in circles on a size
below zero, and it follows sparse files and links. This one knows plain files, the names that POSIX and GNU tar write,
and nothing else. It copies no contents.
"""
import re

from ._compat import PY2, native

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Text, Tuple, Union  # noqa: F401

CONTENT_TYPE = "application/x-tar"
BLOCK = 512
END = b"\0" * (2 * BLOCK)
_MAX_EXTENSION = 64 * 1024  # bytes of names and the like, for one file,
_MAX_RECORDS = 64  # in so many records,
_MAX_EXTENSIONS = 4  # in so many headers per file, on average
_ZEROS = b"\0" * BLOCK
_OCTAL = re.compile(br"[\0 ]*([0-7]+)[\0 ]*\Z")
_NUMBER = re.compile(u"[0-9]{1,18}\\Z")
_RECORD = re.compile(br"([0-9]{1,8}) ([^=\n]*)=")
_HERE = re.compile(u"\\A(?:\\./+)+")  # in front of a name
# What is the same in all headers of plain names: before size, time and checksum, and behind them.
_RIGHTS = b"0000644\0" + b"0000000\0" * 2
_REST = (b"0" + b"\0" * 100 + b"ustar\0" + b"00").ljust(BLOCK - 156, b"\0")
_MOST_OCTAL = 8**11 - 1
_PLAIN = re.compile(u"[ -~]+\\Z")
_FILE, _DIRECTORY, _POSIX, _POSIX_GLOBAL, _GNU_NAME = b"0", b"5", b"x", b"g", b"L"
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a named pipe",
          b"S": "a sparse file"}


class ArchiveError(ValueError):
    """The archive is damaged, or holds what isn't taken from archives; the message says what and where."""


def read(archive, most):
    # type: (Union[bytes, bytearray], int) -> Iterator[Tuple[Text, memoryview, int]]
    """Name, content and time of change (in seconds) of each file in `archive`. Directories are passed over.

    The rest is as in `members`.
    """
    for name, content, seconds, _ in members(archive, most):
        if content is not None:
            yield name, content, seconds


def members(archive, most):
    # type: (Union[bytes, bytearray], int) -> Iterator[Tuple[Text, Optional[memoryview], int, bytes]]
    """Name, content (None of directories), time of change (in seconds) and header of each file and directory.

    most  files and directories that there may be

    Names are as they stand there, but for "./" in front: whoever takes them checks what they lead to. Raises
    ArchiveError, maybe after some files: look at all before you use any.
    """
    offset, count, extensions = 0, 0, 0
    extension = {}  # type: Dict[str, Text]  # what precedes a header and is meant for it
    content = memoryview(archive)
    while True:
        header = bytes(archive[offset : offset + BLOCK])
        if len(header) < BLOCK:
            raise ArchiveError("the archive breaks off after %d bytes" % len(archive))
        offset += BLOCK
        if header == _ZEROS:
            if bytes(archive[offset:]).strip(b"\0"):
                raise ArchiveError("the archive goes on after its end")
            if extension:
                raise ArchiveError("the archive ends where a file should follow")
            return
        kind, name, size = _parse_header(header, offset - BLOCK)
        if kind == _FILE and "size" in extension:
            size = _number(extension["size"])
        if size > len(archive) - offset:
            raise ArchiveError("the archive breaks off in %s, after %d bytes" % (_shown(name), len(archive)))
        start, offset = offset, offset + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind in (_POSIX, _POSIX_GLOBAL, _GNU_NAME):
            extensions += 1
            if size > _MAX_EXTENSION:
                raise ArchiveError("a name or its like takes %d bytes in the archive" % size)
            if extensions > _MAX_EXTENSIONS * most:
                raise ArchiveError("the archive holds more than %d extended headers" % (_MAX_EXTENSIONS * most))
            extension.update(_extension(kind, bytes(archive[start : start + size])))
            continue
        name = extension.get("path", name)
        count += 1
        if count > most:
            raise ArchiveError("the archive holds more than %d files" % most)
        if kind == _DIRECTORY or name.endswith(u"/"):
            if size:
                raise ArchiveError("the archive has a directory with content, %s" % _shown(name))
            yield _HERE.sub(u"", name), None, 0, header
        elif kind == _FILE:
            mtime = extension.get("mtime", u"").partition(u".")[0]
            seconds = int(mtime) if _NUMBER.match(mtime) else _octal(header[136:148]) or 0
            yield _HERE.sub(u"", name), content[start : start + size], seconds, header
        else:
            what = _KINDS.get(kind, "something of kind %r" % native(kind.decode("latin-1")))
            raise ArchiveError("the archive holds %s, %s; only plain files are taken" % (what, _shown(name)))
        extension = {}


def is_program(header):
    # type: (bytes) -> bool
    """Whether the owner of the file behind `header` may execute it."""
    return bool((_octal(header[100:108]) or 0) & 0o100)


def header(name, size, seconds):
    # type: (Text, int, int) -> bytes
    """What precedes the content of a file in an archive. Raises UnicodeError for a name that isn't text."""
    if size <= _MOST_OCTAL and 0 <= seconds <= _MOST_OCTAL and len(name) <= 100 and _PLAIN.match(name):
        # The usual case. The library takes ten times as long, a quarter of what sending a small file costs.
        title, numbers = name.encode("ascii"), b"%011o\0%011o\0" % (size, seconds)
        checksum = b"%06o\0 " % (_PLAIN_SUM + _sum(title) + _sum(numbers))
        return b"".join((title, _ZEROS[: 100 - len(title)], _RIGHTS, numbers, checksum, _REST))
    import tarfile

    info = tarfile.TarInfo(native(name))
    info.size, info.mtime = size, seconds
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size):
    # type: (int) -> bytes
    """What follows a content of `size` bytes."""
    return _ZEROS[: -size % BLOCK]


def _parse_header(header, place):
    # type: (bytes, int) -> Tuple[bytes, Text, int]
    """Kind, name and size. Raises ArchiveError."""
    checksum = _octal(header[148:156])
    if checksum is None or checksum != _sum(header[:148]) + _sum(header[156:]) + 8 * 32:
        raise ArchiveError("this is no tar archive, or it is damaged at byte %d" % place)
    magic = header[257:263]
    if magic not in (b"ustar\0", b"ustar "):
        raise ArchiveError("the archive is of an old kind; tar --format=posix makes one that can be read")
    name = _text(header[:100])
    if magic == b"ustar\0" and header[345:346] != b"\0":
        name = _text(header[345:500]) + u"/" + name
    size = _octal(header[124:136])
    if size is None:
        raise ArchiveError("the archive doesn't say how long %s is, or it's too long" % _shown(name))
    kind = header[156:157]
    return _FILE if kind == b"\0" else kind, name, size


def _extension(kind, data):
    # type: (bytes, bytes) -> Dict[str, Text]
    """What an extended header says of the next file. Raises ArchiveError."""
    if kind == _GNU_NAME:
        return {"path": _text(data)}
    found = {}  # type: Dict[str, Text]
    start = count = 0
    while start < len(data):
        count += 1
        if count > _MAX_RECORDS:
            raise ArchiveError("the archive has more than %d records in an extended header" % _MAX_RECORDS)
        record = _RECORD.match(data, start)
        end = start + int(record.group(1)) if record else 0
        if record is None or end > len(data) or end <= record.end() or data[end - 1 : end] != b"\n":
            raise ArchiveError("the archive has a damaged extended header")
        key = record.group(2)
        if key.startswith(b"GNU.sparse"):
            raise ArchiveError("the archive holds a sparse file; only plain files are taken")
        if kind == _POSIX and key in (b"path", b"size", b"mtime"):
            found[native(key)] = _text(data[record.end() : end - 1])
        start = end
    return found


def _text(data):
    # type: (bytes) -> Text
    """Bytes up to a zero, as text. Raises ArchiveError for what isn't UTF-8."""
    data = data.partition(b"\0")[0]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError("the name %r in the archive is not UTF-8" % data[:60])


def _number(text):
    # type: (Text) -> int
    if not _NUMBER.match(text):
        raise ArchiveError("the archive says that a file has %r bytes" % native(text[:20]))
    return int(text)


def _octal(field):
    # type: (bytes) -> Optional[int]
    found = _OCTAL.match(field)
    return int(found.group(1), 8) if found else None


def _sum(data):
    # type: (bytes) -> int
    return sum(bytearray(data)) if PY2 else sum(data)


def _shown(name):
    # type: (Text) -> str
    return repr(native(name[:200]))


_PLAIN_SUM = _sum(_RIGHTS) + _sum(_REST) + 8 * 32
