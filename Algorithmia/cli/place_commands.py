"""The table of `algo du`, `stat`, `chmod` and `mv`; see `commands`."""
from .command import Argument, Command, positive

DU = Command(
    "du",
    "say how much space directories take",
    handler="places:du",
    description="A line for every directory, with bytes, number of files and place; the last one of a path is its "
    "total. Without a path: all collections of the account.",
    arguments=(
        Argument("paths", nargs="*", metavar="PATH", help="directory or file; data:// may be left out"),
        Argument("-H", "--human-readable", action="store_true", help="sizes as 48, 1.5k, 657k, 2.1M"),
        Argument("--json", action="store_true", help="as a JSON array of uri, size and files"),
    ),
    variadic="paths",
    examples=("algo du", "algo du -H .my/robots s3+lab://bucket/2024"),
)

STAT = Command(
    "stat",
    "show what is known of files and directories",
    handler="places:stat",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="file or directory; * may stand in the last part"),
        Argument("--json", action="store_true", help="as a JSON array of objects"),
    ),
    variadic="paths",
    examples=("algo stat .my/robots/R2-D2.txt", "algo stat --json .my/robots"),
)

MV = Command(
    "mv",
    "move files between this machine and data, or within data",
    handler="places:mv",
    description="As algo cp, and then removes the source: only if the copy is complete and the source is still "
    "what was copied. Interrupted, it leaves the source, and maybe its copy, never neither.",
    usage="algo mv [options] SOURCE... DESTINATION",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="one or more files, then the destination"),
        Argument("-n", "--no-clobber", action="store_true", help="skip files that exist"),
        Argument("--dry-run", action="store_true", help="only say what would be done"),
        Argument("-c", "--concurrency", type=positive, default=8, metavar="N", help="files at once (default: 8)"),
    ),
    variadic="paths",
    examples=("algo mv data://.my/robots/a.png data://.my/robots/b.png", "algo mv ./*.log data://.my/logs"),
)

CHMOD = Command(
    "chmod",
    "say who may read a collection",
    handler="places:chmod",
    description="public: any account; my-algos: you, and anybody through your algorithms; private: you alone. Only the "
    "owner writes.",
    arguments=(
        Argument("permission", choices=("public", "my-algos", "private"), help="who may read"),
        Argument("paths", nargs="+", metavar="PATH", help="collection; data:// may be left out"),
    ),
    variadic="paths",
    examples=("algo chmod public .my/robots",),
)

COMMANDS = (DU, STAT, MV, CHMOD)
