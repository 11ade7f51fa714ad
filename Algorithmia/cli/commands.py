"""The command line as data: every command, its arguments and its help. The parser, `docs/reference/cli.md` and the
completion scripts are made from this table. It imports nothing but what the table is written with."""
from . import algorithm_commands, connector_commands, place_commands
from .command import DATA_OPTIONS, LITERAL_DATA, Argument, Command, excluding, including, positive, seconds

GLOBAL_OPTIONS = (
    Argument("--profile", metavar="NAME", help="use this profile; may stand anywhere on the line"),
    Argument("-q", "--quiet", action="store_true", help="print results and errors only"),
    Argument("--debug-errors", action="store_true", help="show the Python traceback of an error"),
)

AUTH = Command(
    "auth",
    "save the address and key of a platform as a profile",
    handler="auth:auth",
    description="Asks for the platform's address, an API key and, optionally, a CA certificate, checks them with the "
    "platform, and saves them in the profiles file, which only you can read. For scripts: with --key-stdin or "
    "--bearer-token-stdin nothing is asked, and the secret is one line of standard input. With --print-key nothing is "
    "saved.",
    arguments=(
        Argument("name", nargs="?", metavar="NAME", help="same as --profile NAME (default: default)"),
        Argument("--api-address", metavar="URL", help="http or https address of the platform"),
        Argument("--key-stdin", action="store_true", help="read the API key from standard input"),
        Argument("--bearer-token-stdin", action="store_true", help="read a JSON web token from standard input"),
        Argument("--ca-cert", metavar="FILE", help="PEM file of a private certificate authority to trust"),
        Argument("--no-verify", action="store_true", help="save without asking the platform"),
        Argument("--print-key", action="store_true", help="print the key (or token) that other commands send"),
    ),
    examples=(
        "algo auth",
        "algo auth --profile second_user",
        "algo auth --profile work --api-address https://algo.example.com --key-stdin < key.txt",
        "curl -H \"Authorization: Simple $(algo auth --print-key)\" ...",
    ),
)

RUN = Command(
    "run",
    "call an algorithm and print its result",
    handler="run:run",
    description="Give the input with exactly one of -d -D -t -T -j -J -b -B. A FILE of - is standard input. JSON "
    "results are indented on a terminal and compact elsewhere; binary results are written as they are.",
    usage="algo run [options] OWNER/NAME[/VERSION]",
    arguments=(Argument("algorithm", metavar="OWNER/NAME[/VERSION]", help="the algorithm to call"),)
    + DATA_OPTIONS
    + (
        Argument("--timeout", type=seconds, metavar="SECONDS", help="how long the algorithm may run (default: 300)"),
        Argument("--debug", action="store_true", help="print the algorithm's own output, too, on standard error"),
        Argument("--no-debug", dest="debug", action="store_false", help="don't (the default)"),
        Argument("-o", "--output", metavar="FILE", help="write the result to a file instead of printing it"),
        Argument("--response-body", action="store_true", help="print the HTTP body instead of the result"),
        Argument("--response", action="store_true", help="print the HTTP status, headers and body"),
        Argument("-s", "--silence", action="store_true", help="no notices, such as how long the call took"),
        Argument("--force", action="store_true", help="print a binary result even on a terminal"),
    ),
    literal=LITERAL_DATA,
    examples=(
        'algo run demo/Hello -d "HAL 9000"',
        "algo run nlp/LDA/1.0.0 -J documents.json --timeout 60 --output topics.json",
        "cat photo.png | algo run acme/Resize -B - > small.png",
    ),
)  # fmt: skip

LS = Command(
    "ls",
    "list a directory of hosted data or of a connector",
    handler="data:ls",
    aliases=("dir",),
    description="Without a path it prints the name of the account that the profile belongs to. data:// may be left "
    "out; a last part with * lists what matches.",
    arguments=(
        Argument("paths", nargs="*", metavar="PATH", help="directory or file, such as data://.my/robots or .my/robots"),
        Argument("-l", "--long", action="store_true", help="with time of change (UTC) and size"),
        Argument("-H", "--human-readable", action="store_true", help="with -l: sizes as 48, 1.5k, 657k, 2.1M"),
        Argument("--json", action="store_true", help="as a JSON array of name, type, uri, size and last_modified"),
    ),
    variadic="paths",
    examples=("algo ls", "algo ls --profile second_user", "algo ls -l data://.my/robots", "algo ls 's3+lab://bucket/*.csv'"),
)  # fmt: skip

MKDIR = Command(
    "mkdir",
    "make a directory",
    handler="data:mkdir",
    description="New directories can be read by you and by your algorithms.",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="directory to make; data:// may be left out"),
        Argument("-p", "--parents", action="store_true", help="no error if it exists; of a folder, the collection"),
    ),
    variadic="paths",
    examples=("algo mkdir .my/img_directory",),
)

RMDIR = Command(
    "rmdir",
    "remove a directory",
    handler="data:rmdir",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="directory to remove; data:// may be left out"),
        Argument("-f", "--force", action="store_true", help="also if it holds files, with all of them"),
    ),
    variadic="paths",
    examples=("algo rmdir -f .my/img_directory",),
)

RM = Command(
    "rm",
    "remove files",
    handler="data:rm",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="file to remove; * may stand in the last part"),
        Argument("-r", "--recursive", action="store_true", help="remove directories, too, with what they hold"),
        Argument("-f", "--force", action="store_true", help="no error if there is no such file"),
    ),
    variadic="paths",
    examples=("algo rm .my/robots/R2-D2.txt", "algo rm 'data://.my/robots/*.png'", "algo rm -r .my/robots/old"),
)  # fmt: skip

CAT = Command(
    "cat",
    "print files",
    handler="data:cat",
    description="Writes the contents to standard output one after the other, bytes unchanged.",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="file to print; * may stand in the last part"),
    ),
    variadic="paths",
    examples=("algo cat .my/robots/R2-D2.txt", "algo cat 'data://.my/logs/*' | sort"),
)  # fmt: skip

CHOICE_OPTIONS = (
    Argument(
        "--include", dest="filters", action="append", type=including, metavar="GLOB",
        help="with --exclude: files that are meant all the same; the last pattern that fits decides",
    ),
    Argument(
        "--exclude", dest="filters", action="append", type=excluding, metavar="GLOB",
        help="leave out files whose path below the source fits; * ? and [] as in a shell, * also for /",
    ),
    Argument("--checksum", action="store_true", help="compare contents, and skip files that are the same"),
    Argument("--dry-run", action="store_true", help="only say what would be done"),
    Argument("-c", "--concurrency", type=positive, default=8, metavar="N", help="files at once (default: 8)"),
)  # fmt: skip

CP = Command(
    "cp",
    "copy between this machine and data, or within data",
    handler="copying:cp",
    aliases=("copy",),
    description="What has a protocol, such as data:// or s3+label://, is on the platform; anything else is a local "
    "path; - is standard input or output. Files that exist are replaced. If the destination is a directory the copy "
    "keeps its source's name there; several sources need a directory. A last part with * stands for the files that "
    "match. Contents are compared on both sides; downloads keep the time of change.",
    usage="algo cp [options] SOURCE... DESTINATION",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="one or more sources, then the destination"),
        Argument("-r", "--recursive", action="store_true", help="copy directories with what they hold"),
        Argument("-n", "--no-clobber", action="store_true", help="skip files that exist"),
    )
    + CHOICE_OPTIONS,
    variadic="paths",
    examples=(
        "algo cp ./friends.jpg data://.my/img_directory",
        "algo cp data://.algo/dlib/FaceDetection/temp/detected_faces.png ./detected_faces.png",
        "algo cp 'data://.my/robots/*' .",
        "tar c src | algo cp - data://.my/backup/src.tar",
    ),
)  # fmt: skip

SYNC = Command(
    "sync",
    "make a directory hold what another one holds",
    handler="syncing:sync",
    description="Copies what is missing or differs from SOURCE to DESTINATION; one of them, or both, are remote. Files "
    "differ if their sizes do, if the source is newer (upwards and between remote places), or if the times are not the "
    "same (downwards: a download gets the time of the remote file); with --checksum if their contents do. Files that "
    "are left out are not deleted.",
    usage="algo sync [options] SOURCE DESTINATION",
    arguments=(
        Argument("paths", nargs="+", metavar="PATH", help="the source directory, then the destination directory"),
        Argument("--delete", action="store_true", help="then delete what is in the destination only"),
    )
    + CHOICE_OPTIONS,
    variadic="paths",
    examples=(
        "algo sync ./images data://.my/images",
        "algo sync data://.my/images ./images --delete --dry-run",
        "algo sync s3+lab://bucket/2024 data://.my/archive --exclude '*.tmp'",
    ),
)  # fmt: skip

SERVE = Command(
    "serve",
    "run a platform in the foreground",
    handler="serve:serve",
    description="Serves the same API as the background platform that 'algo run' starts on demand. It prints 'Serving "
    "on ADDRESS' when it is ready, and saves profile 'local' with a key. Every setting of the platform is also an "
    "option here: docs/reference/settings.md lists them.",
    arguments=(
        Argument("--host", metavar="HOST", help="address to listen on (default: 127.0.0.1)"),
        Argument("--port", metavar="PORT", help="port to listen on; 0 picks a free one (default: 0)"),
        Argument("--home", metavar="DIR", help="directory of profiles and state (default: ~/.algorithmia)"),
        Argument("--user", metavar="NAME", help="account made at the first start (default: your user name)"),
        Argument("--tls-cert", metavar="FILE", help="PEM certificate chain; serves HTTPS together with --tls-key"),
        Argument("--tls-key", metavar="FILE", help="PEM private key"),
    ),
    usage="algo serve [options]",
    examples=("algo serve --port 8080", "algo serve --host 0.0.0.0 --port 8443 --tls-cert cert.pem --tls-key key.pem"),
    passes_on=True,
)  # fmt: skip

_STOPPED_PLATFORM = (
    Argument("--home", metavar="DIRECTORY", help="the platform's directory, if it isn't the usual one"),
    Argument("--database", metavar="URL", help="its database, if that isn't in there"),
    Argument("--json", action="store_true", help="print the result as a JSON object"),
)

LOCAL = Command(
    "local",
    "see and control the platform that runs in the background",
    description="The first command without any configuration starts a platform in the background.",
    actions=(
        Command("start", "start it, if it doesn't run, and print its address", handler="serve:local_start"),
        Command(
            "status",
            "say whether it runs, where, and what it has done",
            handler="serve:local_status",
            arguments=(Argument("--json", action="store_true", help="as a JSON object"),),
        ),
        Command("stop", "end it after the calls in flight", handler="serve:local_stop"),
        Command(
            "logs",
            "print its log",
            handler="serve:local_logs",
            arguments=(
                Argument("-n", "--lines", type=positive, default=100, metavar="N", help="last N lines (default: 100)"),
                Argument("-f", "--follow", action="store_true", help="go on with what is added"),
            ),
        ),
        Command(
            "fsck",
            "check that metadata and file contents agree, while it is stopped",
            handler="serve:local_fsck",
            arguments=(
                Argument("--checksum", action="store_true", help="also read all contents and compare their checksums"),
                Argument("--repair", action="store_true", help="move aside what no file needs, and correct counts"),
            )
            + _STOPPED_PLATFORM,
        ),
        Command(
            "migrate-storage",
            "copy all file contents to another store, while it is stopped",
            handler="serve:local_migrate_storage",
            arguments=(
                Argument("to", metavar="TO", help="local, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"),
            )
            + _STOPPED_PLATFORM,
        ),
    ),
    examples=(
        "algo local status",
        "algo local stop",
        "algo local logs -f",
        "algo local fsck --checksum",
        "algo local migrate-storage s3://bucket/files",
    ),
)

USERS = Command(
    "users",
    "administer the accounts of a platform",
    description="Needs an administrator's key: profile local-admin, made by the platform on its own machine, unless "
    "--profile names another.",
    actions=(
        Command(
            "add",
            "make an account and print its key, once",
            handler="users:add",
            arguments=(
                Argument("name", metavar="NAME", help="name of the account"),
                Argument("--email", metavar="ADDRESS", help="e-mail address (default: NAME@localhost)"),
                Argument("--fullname", metavar="TEXT", help="name of the person"),
                Argument("--save-profile", metavar="PROFILE", help="also save the key and address as a profile here"),
                Argument("--json", action="store_true", help="print account and key as a JSON object"),
            ),
        ),
        Command(
            "ls",
            "list the accounts",
            handler="users:ls",
            arguments=(Argument("--json", action="store_true", help="print what the platform answers as JSON"),),
        ),
    ),
    examples=(
        "algo users add alice --email alice@example.com",
        "algo users add bob --save-profile bob",
        "algo users ls",
    ),
)

COMPLETION = Command(
    "completion",
    "print a completion script for a shell",
    handler="completion:completion",
    description="Needs nothing installed. With the argcomplete package, eval \"$(register-python-argcomplete algo)\" "
    "works as well.",
    arguments=(Argument("shell", choices=("bash", "zsh", "fish"), help="the shell to complete in"),),
    examples=(
        'eval "$(algo completion bash)"      # in ~/.bashrc',
        'eval "$(algo completion zsh)"       # in ~/.zshrc',
        "algo completion fish | source       # in ~/.config/fish/config.fish",
    ),
)

HELP = Command(
    "help",
    "show this, or the help of a command",
    handler="parser:show_help",
    arguments=(Argument("topic", nargs="*", metavar="COMMAND", help="the command to explain"),),
    examples=("algo help", "algo help cp"),
)

ALL = (
    (AUTH, RUN, LS, MKDIR, RMDIR, RM, CP, SYNC, CAT)
    + place_commands.COMMANDS
    + algorithm_commands.COMMANDS
    + (connector_commands.CONNECTORS, SERVE, LOCAL, USERS, COMPLETION, HELP, algorithm_commands.GIT_CREDENTIAL)
)
# Those that are listed.
COMMANDS = tuple(command for command in ALL if not command.is_hidden)


def find(name):
    """The command called `name`, by name or alias; None if there is none."""
    for command in ALL:
        if name == command.name or name in command.aliases:
            return command
    return None
