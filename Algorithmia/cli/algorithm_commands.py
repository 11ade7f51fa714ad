"""The commands around an algorithm's life, as data: create, clone, test, deploy, builds, publish and the rest."""
from .command import DATA_OPTIONS, LITERAL_DATA, Argument, Command, positive, seconds

_JSON = Argument("--json", action="store_true", help="print what the platform answers as JSON")
# Names are taken from one list, since what stands behind an option may belong to either of two.
_IN_PROJECT = " Inside a project's directory OWNER/NAME may be left out."
_MINE = " Write me/NAME for an algorithm of your own account."
_TEXT_OPTIONS = frozenset(["--sample-input", "--release-notes", "-m", "--message", "--label", "--tagline", "--summary"])


def _named(help="the algorithm"):
    # type: (str) -> Argument
    return Argument("names", nargs="*", metavar="OWNER/NAME", help=help)


_CALLABILITY = (
    Argument("--public", dest="callability", action="store_const", const="public", help="everybody may call it"),
    Argument("--private", dest="callability", action="store_const", const="private", help="only its owner may call it"),
)
_SAMPLE = Argument("--sample-input", metavar="JSON", help="example input, shown to users and run on publishing")
_NOTES = Argument("--release-notes", metavar="TEXT", help="what is new in this version")
_PARTS = ("major", "minor", "revision")

CREATE = Command(
    "create",
    "make a new algorithm",
    handler="algorithms:create",
    description="Makes the algorithm and its repository, which holds the language's template: a project that builds, "
    "runs and passes its test as it is." + _MINE,
    arguments=(
        Argument("algorithm", metavar="OWNER/NAME", help="its owner, you or an organization, and its name"),
        Argument("--language", metavar="NAME", help="its language, as 'algo languages' prints them (default: python3)"),
        Argument("--environment", metavar="NAME", help="name or id of an environment: see 'algo environment'"),
        Argument("--label", metavar="TEXT", help="its name for people (default: NAME)"),
        Argument("--tagline", metavar="TEXT", help="one line that says what it is for"),
        Argument("--summary", metavar="TEXT", help="its documentation, in Markdown"),
        Argument("--open", dest="source_visibility", action="store_const", const="open",
                 help="everybody may read its source"),
        Argument("--closed", dest="source_visibility", action="store_const", const="closed",
                 help="only its owner may (the default)"),
        Argument("--license", metavar="NAME", choices=("apl", "apache2", "gpl3", "mit"),
                 help="apl (the default), apache2, gpl3 or mit; closed source needs apl"),
        Argument("--network", metavar="ACCESS", choices=("full", "isolated"),
                 help="full (the default), or isolated: it reaches the platform only"),
        Argument("--no-pipeline", action="store_true", help="it may not call other algorithms"),
        Argument("--gpu", action="store_true", help="it needs a graphics processor"),
        _JSON,
    ),
    literal=_TEXT_OPTIONS,
    examples=("algo create me/Sentiment", "algo create acme/Resize --language javascript --open --license mit"),
)  # fmt: skip

CLONE = Command(
    "clone",
    "get an algorithm's source as a git repository",
    handler="source:clone",
    description="Runs git clone. Pushing and pulling in the clone need no password: git asks this program, which "
    "takes the key from the profile that was used here; the key is stored nowhere else. A VERSION gets the source of "
    "that version." + _MINE,
    usage="algo clone [options] OWNER/NAME[/VERSION] [DIRECTORY]",
    arguments=(
        Argument("algorithm", metavar="OWNER/NAME[/VERSION]", help="the algorithm"),
        Argument("names", nargs="*", metavar="DIRECTORY", help="where to put it (default: NAME)"),
    ),
    variadic="names",
    examples=("algo clone me/Sentiment && cd Sentiment", "algo clone acme/Resize/1.2.0 resize-1.2.0"),
)  # fmt: skip

TEST = Command(
    "test",
    "test a project on this machine",
    handler="projects:test",
    description="Without an input it runs the project's own tests: src/*_test.py with pytest, or with unittest where "
    "pytest isn't installed; npm test, mvn test, sbt test, cargo test, rake test and Rscript for projects in other "
    "languages. With an input, "
    "given as for 'algo run', it loads a Python project as the platform does, calls it once and prints the result. "
    "The interpreter is the one that algo runs on.",
    usage="algo test [options] [DIRECTORY]",
    arguments=(Argument("names", nargs="*", metavar="DIRECTORY", help="the project (default: this directory)"),)
    + DATA_OPTIONS
    + (
        Argument("--timeout", type=seconds, metavar="SECONDS", help="how long the call or the tests may take"),
        Argument("-o", "--output", metavar="FILE", help="write the result to a file instead of printing it"),
        Argument("--force", action="store_true", help="print a binary result even on a terminal"),
    ),
    variadic="names",
    literal=LITERAL_DATA,
    examples=("algo test", "algo test -d '\"hi\"'", "algo test ~/Resize -B photo.png -o small.png"),
)  # fmt: skip

DEPLOY = Command(
    "deploy",
    "upload a project, build it and, if asked, publish it",
    handler="projects:deploy",
    description="Without git: the directory becomes a commit of the algorithm's repository, the platform builds it "
    "and the build's log appears here. The algorithm is the one that the project's algorithmia.conf names; it is "
    "created if there is none. What .gitignore excludes stays here.",
    usage="algo deploy [options] [DIRECTORY]",
    arguments=(
        Argument("names", nargs="*", metavar="DIRECTORY", help="the project (default: this directory)"),
        Argument("--algorithm", metavar="OWNER/NAME", help="deploy to this one, whatever algorithmia.conf says"),
        Argument("--language", metavar="NAME", help="of an algorithm that is created (default: algorithmia.conf's)"),
        Argument("--publish", metavar="PART", choices=_PARTS,
                 help="publish the build; PART of the version's number grows: major, minor or revision"),
    ) + _CALLABILITY + (
        _SAMPLE,
        _NOTES,
        Argument("-m", "--message", metavar="TEXT", help="message of the commit"),
        _JSON,
    ),
    variadic="names",
    literal=_TEXT_OPTIONS,
    examples=("algo deploy", "algo deploy Sentiment --publish minor --public --sample-input '\"hi\"'"),
)  # fmt: skip

BUILDS = Command(
    "builds",
    "list an algorithm's builds, newest first",
    handler="builds:builds",
    description="USER ALGORITHM, as two words, prints a JSON array, as earlier versions of this program did."
    + _IN_PROJECT,
    usage="algo builds [options] [OWNER/NAME | USER ALGORITHM]",
    arguments=(
        _named(),
        Argument("--limit", type=positive, metavar="N", help="at most N (default: 20; with USER ALGORITHM: 56)"),
        _JSON,
    ),
    variadic="names",
    examples=("algo builds me/Sentiment", "algo builds me Sentiment"),
)  # fmt: skip

LOGS = Command(
    "logs",
    "print the log of a build",
    handler="builds:logs",
    description="The newest build's unless BUILD_ID names another. With --follow the exit status is 1 if the build "
    "fails." + _IN_PROJECT,
    usage="algo logs [options] [OWNER/NAME] [BUILD_ID]",
    arguments=(
        _named("the algorithm, then the build's id"),
        Argument("-f", "--follow", action="store_true", help="go on until the build has ended"),
    ),
    variadic="names",
    examples=("algo logs me/Sentiment -f",),
)  # fmt: skip

PUBLISH = Command(
    "publish",
    "make the newest successful build a version",
    handler="algorithms:publish",
    description="The platform runs the sample input, if there is one, and keeps the output." + _IN_PROJECT,
    usage="algo publish [options] [OWNER/NAME]",
    arguments=(
        _named(),
        Argument("--major", dest="part", action="store_const", const="major", help="1.2.3 becomes 2.0.0"),
        Argument("--minor", dest="part", action="store_const", const="minor", help="1.2.3 becomes 1.3.0 (the default)"),
        Argument("--revision", dest="part", action="store_const", const="revision", help="1.2.3 becomes 1.2.4"),
    ) + _CALLABILITY + (
        _SAMPLE,
        _NOTES,
        Argument("--commit", metavar="HASH", help="publish the build of this commit"),
        Argument("--rebuild", action="store_true", help="build it again first, if it is published already"),
        _JSON,
    ),
    variadic="names",
    literal=_TEXT_OPTIONS,
    examples=("algo publish me/Sentiment --minor --public --sample-input '\"hi\"'",),
)  # fmt: skip

VERSIONS = Command(
    "versions",
    "list an algorithm's published versions, newest first",
    handler="algorithms:versions",
    description="Prints number, callability, commit and release notes." + _IN_PROJECT,
    usage="algo versions [options] [OWNER/NAME]",
    arguments=(
        _named(),
        Argument("--limit", type=positive, default=50, metavar="N", help="at most N (default: 50)"),
        _JSON,
    ),
    variadic="names",
    examples=("algo versions nlp/LDA",),
)  # fmt: skip

INFO = Command(
    "info",
    "say what the platform knows of an algorithm",
    handler="algorithms:info",
    description="Prints its settings, its newest version and its newest build." + _IN_PROJECT,
    usage="algo info [options] [OWNER/NAME]",
    arguments=(_named(), _JSON),
    variadic="names",
    examples=("algo info me/Sentiment --json",),
)  # fmt: skip

ALGORITHMS = Command(
    "algorithms",
    "list the algorithms of an account",
    handler="algorithms:algorithms",
    usage="algo algorithms [options] [OWNER]",
    arguments=(Argument("owner", nargs="?", metavar="OWNER", help="the account (default: yours)"), _JSON),
    examples=("algo algorithms", "algo algorithms nlp"),
)  # fmt: skip

DELETE = Command(
    "delete",
    "delete an algorithm with its source, builds and versions",
    handler="algorithms:delete",
    description="Asks for the algorithm's name first; scripts say --yes. A publicly published algorithm can't be "
    "deleted.",
    arguments=(
        Argument("algorithm", metavar="OWNER/NAME", help="the algorithm"),
        Argument("--yes", action="store_true", help="don't ask"),
    ),
    examples=("algo delete me/Sentiment --yes",),
)  # fmt: skip

ERRORS = Command(
    "errors",
    "list the recent errors of an algorithm's calls",
    handler="algorithms:errors",
    description="Newest first: when, which version, for whom, and what was said." + _IN_PROJECT,
    usage="algo errors [options] [OWNER/NAME]",
    arguments=(_named(), _JSON),
    variadic="names",
    examples=("algo errors me/Sentiment",),
)  # fmt: skip

SECRETS = Command(
    "secrets",
    "keep secrets for an algorithm",
    description="An algorithm finds each secret in the environment variable KEY. The platform stores values encrypted "
    "and never shows them.",
    actions=(
        Command(
            "ls",
            "list their names",
            handler="secrets:ls",
            arguments=(Argument("algorithm", metavar="OWNER/NAME", help="the algorithm"), _JSON),
        ),
        Command(
            "set",
            "store a secret, or replace its value",
            handler="secrets:set_",
            description="The value is typed without showing it, or is what standard input holds (without the line end "
            "after it). It is never an argument: other people on this machine can read those.",
            arguments=(
                Argument("algorithm", metavar="OWNER/NAME", help="the algorithm"),
                Argument("key", metavar="KEY", help="name of the environment variable"),
                Argument("--description", metavar="TEXT", help="what it is for"),
            ),
        ),
        Command(
            "rm",
            "remove a secret",
            handler="secrets:rm",
            arguments=(
                Argument("algorithm", metavar="OWNER/NAME", help="the algorithm"),
                Argument("key", metavar="KEY", help="name of the environment variable"),
            ),
        ),
    ),
    examples=("algo secrets set me/Sentiment DB_PASSWORD < password.txt", "algo secrets ls me/Sentiment"),
)  # fmt: skip

LANGUAGES = Command(
    "languages",
    "list the languages that algorithms can be written in",
    handler="environments:languages",
    arguments=(_JSON,),
    examples=("algo languages",),
)

ENVIRONMENT = Command(
    "environment",
    "list the environments of a language",
    handler="environments:environment",
    description="Prints a table on a terminal, else a JSON array. 'id' is for 'algo create --environment', "
    "'environment_specification_id' for 'algo template'.",
    arguments=(
        Argument("language", metavar="LANGUAGE", help="a language, as 'algo languages' prints them"),
        _JSON,
    ),
    examples=("algo environment python3", "algo environment python3 --json"),
)

TEMPLATE = Command(
    "template",
    "get the template files of an environment",
    handler="environments:template",
    arguments=(
        Argument("environment", metavar="ENVSPEC_ID", help="an environment_specification_id of 'algo environment'"),
        Argument("destination", metavar="DEST", help="directory to put the files in; made if there is none"),
    ),
    examples=("algo template 717e8e7b-5dc6-4e9b-9a2e-0c3f9a0c8a1e Sentiment",),
)  # fmt: skip

FREEZE = Command(
    "freeze",
    "pin the model files of a manifest by their checksums",
    handler="environments:freeze",
    description="Reads every file that the manifest lists and writes model_manifest.json.freeze beside it.",
    arguments=(
        Argument("manifest", nargs="?", default="model_manifest.json", metavar="MANIFEST",
                 help="the manifest (default: model_manifest.json)"),
        Argument("--output-dir", metavar="DIR", help="write the frozen manifest there (default: beside the manifest)"),
    ),
    examples=("algo freeze",),
)  # fmt: skip

GIT_CREDENTIAL = Command(
    "git-credential",
    "answer git's question for a user name and password",
    handler="source:git_credential",
    description="A credential helper (see 'git help credentials') for repositories of the profile's platform; 'algo "
    "clone' makes its clones use it. It answers for no other host.",
    arguments=(Argument("operation", metavar="OPERATION", help="get; git's other operations do nothing here"),),
    is_hidden=True,
)

COMMANDS = (CREATE, CLONE, TEST, DEPLOY, BUILDS, LOGS, PUBLISH, VERSIONS, INFO, ALGORITHMS, DELETE, ERRORS, SECRETS,
            LANGUAGES, ENVIRONMENT, TEMPLATE, FREEZE)
