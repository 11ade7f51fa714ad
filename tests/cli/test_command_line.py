"""The parser: every command's help, options in any position, usage errors, and what the help costs."""
import io
import os
import subprocess
import sys

import pytest

from Algorithmia import __version__
from Algorithmia.cli import commands, reference
from Algorithmia.cli.context import Environment, UsageError
from Algorithmia.cli.parser import build, parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def parsed(*words):
    env = Environment(io.BytesIO(), io.BytesIO(), io.BytesIO(), {})
    return parse(list(words), env)


def test_no_command_is_help(cli):
    ran = cli()
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == cli("help").out == cli("--help").out
    assert ran.out.startswith("usage: algo [-h] [--profile")
    for command in ("auth", "run", "ls", "rm", "mkdir", "rmdir", "cp", "cat", "help", "serve", "local", "users",
                    "create", "clone", "test", "deploy", "builds", "logs", "publish", "languages", "template"):
        assert "\n    %s " % command in ran.out


def test_version(cli):
    ran = cli("--version")
    assert (ran.status, ran.out, ran.err) == (0, "algo %s\n" % __version__, "")


def every_command():
    for command in commands.COMMANDS:
        yield (command.name,)
        for action in command.actions:
            yield (command.name, action.name)


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_help_of_every_command(cli, words):
    ran = cli("help", *words)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == cli(*(words + ("--help",))).out
    assert "--profile" in ran.out and "algo " + " ".join(words) in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 120


def test_help_of_something_unknown(cli):
    ran = cli("help", "fly")
    assert (ran.status, ran.out) == (2, "")
    assert "fly" in ran.err and "auth" in ran.err


def test_help_knows_aliases(cli):
    assert cli("help", "copy").out == cli("help", "cp").out


@pytest.mark.parametrize(
    "words",
    [
        ("--profile", "p", "cp", "a", "data://.my/b"),
        ("cp", "--profile", "p", "a", "data://.my/b"),
        ("cp", "a", "--profile", "p", "data://.my/b"),
        ("cp", "a", "data://.my/b", "--profile", "p"),
        ("cp", "a", "data://.my/b", "--profile=p"),
        ("copy", "--profile=p", "a", "data://.my/b"),
    ],
)
def test_profile_anywhere(words):
    args = parsed(*words)
    assert (args.command, args.profile, args.paths) == ("cp", "p", ["a", "data://.my/b"])


def test_profile_around_the_action_of_a_command():
    for words in (("--profile", "p", "users", "add", "n"), ("users", "--profile", "p", "add", "n"),
                  ("users", "add", "n", "--profile", "p")):
        args = parsed(*words)
        assert (args.command, args.action, args.name, args.profile) == ("users", "add", "n", "p")


def test_no_profile():
    assert parsed("ls").profile is None


@pytest.mark.parametrize("words", [("ls", "--profile"), ("--profile", "-q", "ls"), ("ls", "--profile=")])
def test_profile_needs_a_name(cli, words):
    ran = cli(*words)
    assert ran.status == 2 and "--profile" in ran.err


@pytest.mark.parametrize("alias, name", [("dir", "ls"), ("copy", "cp")])
def test_aliases(alias, name):
    assert parsed(alias, "a", "data://b").spec.name == name


def test_options_between_paths():
    args = parsed("cp", "a", "-r", "b", "-c", "3", "c", "-q", "data://.my/d")
    assert args.paths == ["a", "b", "c", "data://.my/d"]
    assert args.recursive and args.quiet and args.concurrency == 3


def test_values_of_text_options_may_look_like_options():
    args = parsed("publish", "a/b", "--sample-input", "-1", "--release-notes", "--none", "--major")
    assert (args.names, args.sample_input, args.release_notes, args.part) == (["a/b"], "-1", "--none", "major")
    args = parsed("deploy", "-m", "-x", "here", "--profile", "p")
    assert (args.names, args.message, args.profile) == (["here"], "-x", "p")


@pytest.mark.parametrize(
    "words, names",
    [(("logs", "-f", "a/b", "1"), ["a/b", "1"]), (("logs", "a/b", "-f", "1"), ["a/b", "1"]),
     (("builds", "u", "a"), ["u", "a"]), (("builds", "--limit", "3", "a/b"), ["a/b"]), (("versions", "--json"), []),
     (("clone", "a/b", "-q", "d"), ["d"])],
)  # fmt: skip
def test_names_between_options(words, names):
    assert parsed(*words).names == names


def test_path_after_double_dash():
    assert parsed("rm", "-f", "--", "-odd").paths == ["-odd"]
    assert parsed("rm", "--", "--profile").paths == ["--profile"]


@pytest.mark.parametrize(
    "option, value",
    [("-d", "-5"), ("-d", "--profile"), ("-t", "-x"), ("--data", "-x"), ("-d", ""), ("-j", "-1"), ("-t", "=a"),
     ("-t", "--text")],
)  # fmt: skip
def test_input_values_may_look_like_options(option, value):
    args = parsed("run", "demo/Hello", option, value, "--profile", "p")
    assert args.inputs[0][2] == value and args.profile == "p"


@pytest.mark.parametrize(
    "words, hint",
    [
        (("fly",), "there is no command 'fly'. 'algo help'"),
        (("rnu", "a/b", "-d", "x"), "did you mean 'run'?"),
        (("run",), "algo run"),
        (("run", "a/b", "extra"), "unrecognized arguments: extra; give the input with -d"),
        (("rm",), "algo rm"),
        (("ls", "--bogus"), "unrecognized arguments: --bogus"),
        (("--bogus",), "unrecognized arguments: --bogus"),
        (("local",), "algo local"),
        (("local", "dance"), "invalid choice"),
        (("users", "add"), "algo users add"),
        (("run", "a/b", "-d", "x", "--timeout", "soon"), "--timeout"),
        (("run", "a/b", "-d", "x", "--timeout", "-1"), "--timeout"),
        (("cp", "-c", "0", "a", "data://b"), "-c"),
        (("completion", "tcsh"), "invalid choice"),
        (("secrets",), "algo secrets"),
        (("create",), "algo create"),
        (("publish", "a/b", "c/d"), "one OWNER/NAME"),
        (("clone", "nonsense"), "OWNER/NAME"),
    ],
)
def test_usage_errors(cli, words, hint):
    ran = cli(*words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("usage: algo") and hint in ran.err and "Traceback" not in ran.err


def test_unknown_options_of_serve_are_passed_on():
    args = parsed("serve", "--port", "0", "--max-workers", "2")
    assert (args.port, args.passed_on) == ("0", ["--max-workers", "2"])


def test_usage_error_is_raised_with_the_usage_of_its_command():
    with pytest.raises(UsageError) as caught:
        parsed("ls", "--bogus")
    assert caught.value.usage.startswith("usage: algo ls") and caught.value.message.startswith("algo ls: error:")


def test_reference_page_is_up_to_date():
    with io.open(os.path.join(ROOT, "docs", "reference", "cli.md"), encoding="utf-8") as page:
        assert page.read() == reference.render(), "run: python -m Algorithmia.cli.reference > docs/reference/cli.md"


def test_reference_page_tells_what_the_help_tells(cli):
    """Every flag and every word of help that argparse shows stands on the page."""
    page = reference.render().replace("\\*", "*").replace("\\|", "|")
    _, index = build(Environment(io.BytesIO(), io.BytesIO(), io.BytesIO(), {}))
    for parser in index.values():
        for action in parser._actions:
            for flag in action.option_strings:
                assert "`%s" % flag in page, flag
            if action.help and action.dest not in ("help", "action"):
                assert action.help in page


def test_every_handler_exists():
    for command in commands.COMMANDS:
        for item in command.actions or (command,):
            module, _, function = item.handler.partition(":")
            assert callable(getattr(__import__("Algorithmia.cli." + module, fromlist=[function]), function))


def test_help_imports_little():
    code = (
        "import sys; before = set(sys.modules); from Algorithmia.cli import main; main(['--help']); "
        "sys.stderr.write(' '.join(sorted(set(sys.modules) - before)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    loaded = process.communicate()[1].decode("utf-8").split()
    assert "Algorithmia.cli.parser" in loaded
    ours = ["Algorithmia." + name for name in ("transport", "transfer", "local", "server", "cli.run", "cli.auth")]
    outside = ["urllib3", "requests", "toml", "tqdm", "argcomplete", "pkg_resources"]
    if sys.version_info >= (3,):  # urllib of 2.7 brings them along
        outside += ["ssl", "tempfile"]
    if sys.version_info[:2] not in ((2, 7), (3, 8)):  # 3.8's argparse imports it itself
        outside += ["shutil"]
    for heavy in ours + outside:
        assert heavy not in loaded


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cli, shell):
    ran = cli("completion", shell)
    assert ran.status == 0
    for word in ("mkdir", "timeout", "bearer-token-stdin", "status"):
        assert word in ran.out


def test_bash_completes(cli, tmpdir):
    if subprocess.call(["which", "bash"], stdout=subprocess.PIPE) != 0:
        pytest.skip("needs bash")
    script = tmpdir.join("algo.bash")
    script.write(cli("completion", "bash").out)

    def complete(*words):
        line = " ".join("'%s'" % word for word in words)
        code = "source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _algo; echo \"${COMPREPLY[@]}\"" % (
            script, line, len(words) - 1)
        return subprocess.check_output(["bash", "-c", code], cwd=str(tmpdir)).decode("utf-8").split()

    assert complete("algo", "mk") == ["mkdir"]
    assert complete("algo", "run", "--time") == ["--timeout"]
    assert complete("algo", "--profile", "x", "local", "st") == ["start", "status", "stop"]
    assert complete("algo", "local", "logs", "--fo") == ["--follow"]
    assert complete("algo", "dir", "--lo") == ["--long"]
    assert complete("algo", "secrets", "")[:3] == ["ls", "set", "rm"]
    assert complete("algo", "deploy", "--publish", "mi") == ["minor"]
    os.makedirs(os.path.join(os.environ["ALGORITHMIA_HOME"]))
    with open(os.path.join(os.environ["ALGORITHMIA_HOME"], "config"), "w") as config:
        config.write('[profiles.default]\n[profiles.second_user]\napi_key = ""\n')
    assert complete("algo", "ls", "--profile", "se") == ["second_user"]
