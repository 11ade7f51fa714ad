"""The documents do what they say: code blocks are run, tables are compared with the code, links lead somewhere.

A ```python block runs after the ones before it in the same document. A ```console block is typed at a shell, and what
it prints is compared (``...`` stands for anything). A ```bash block runs only when a comment above it says how
(``<!-- run: http -->``); otherwise a comment says why it is not run.
"""
import io
import os
import re
import subprocess
import sys

import pytest
from platforms import ROOT, clean_environment

from Algorithmia import config

PAGES = sorted(
    [os.path.join(ROOT, *name.split("/"))
     for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/README.md")]
    + [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(ROOT, "docs")) for name in names
       if name.endswith(".md")]
)
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page):
    with io.open(page, encoding="utf-8") as handle:
        return handle.read()


def blocks(page, *languages):
    return [(note, code) for note, language, code in BLOCK.findall(text_of(page)) if language in languages]


def having(*languages):
    pages = [page for page in PAGES if blocks(page, *languages)]
    return pytest.mark.parametrize("page", pages, ids=[os.path.relpath(page, ROOT) for page in pages])


@pytest.fixture
def home(server, tmpdir):
    """The environment of a reader who has the platform as the default profile, with `algo` on the PATH."""
    place = tmpdir.mkdir("reader")
    environment = clean_environment(place)
    config.save_profile("default", config.Profile(server.key, server.address),
                        os.path.join(environment["ALGORITHMIA_HOME"], "config"))
    commands = place.mkdir("bin")
    commands.join("algo").write('#!/bin/sh\nexec "%s" -m Algorithmia "$@"\n' % sys.executable)
    commands.join("algo").chmod(0o755)
    environment["PATH"] = str(commands) + os.pathsep + environment["PATH"]
    environment["PYTHONPATH"] = ROOT
    return environment


def shell(command, environment, cwd):
    process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=open(os.devnull), env=environment, cwd=str(cwd))
    return process.communicate()[0].decode("utf-8"), process.returncode


@having("python")
def test_python_blocks(page, home, tmpdir):
    code = "\n".join(code for _, code in blocks(page, "python"))
    script = tmpdir.join("page.py")
    script.write_text(code, encoding="utf-8")
    output, status = shell("'%s' %s" % (sys.executable, script), home, tmpdir)
    assert status == 0, output


@pytest.mark.parametrize("name", sorted(n for n in os.listdir(os.path.join(ROOT, "examples")) if n.endswith(".py")))
def test_examples_run(name, home, tmpdir):
    output, status = shell("'%s' '%s'" % (sys.executable, os.path.join(ROOT, "examples", name)), home, tmpdir)
    assert status == 0, output


@having("console")
def test_console_blocks(page, home, tmpdir):
    if page.endswith("command-line.md"):  # `algo local` is about a platform of the reader's own
        os.remove(os.path.join(home["ALGORITHMIA_HOME"], "config"))
    try:
        for _, code in blocks(page, "console"):
            for step in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
                command, _, expected = step.partition("\n")
                output, status = shell(command, home, tmpdir)
                output = re.sub(r"^Started a local .*\n", "", output, flags=re.MULTILINE)
                pattern = ".*".join(re.escape(part) for part in expected.rstrip("\n").split("..."))
                assert status == 0 and re.match("(?s)" + pattern + r"\s*$", output), (command, output, expected)
    finally:
        shell("algo local stop", home, tmpdir)


@having("bash")
def test_bash_blocks(page, home, server, tmpdir):
    tmpdir.join("friends.jpg").write(b"\xff\xd8\xff not much of a photo", mode="wb")
    for note, code in blocks(page, "bash"):
        assert note.startswith(("run: ", "not run: ", "ci:")), "say above the block how it is run, or why it isn't"
        if note == "run: http":
            environment = dict(home, KEY=server.key, API=server.address)
            output, status = shell("set -e\n" + code.replace("curl -s", "curl -sS --fail"), environment, tmpdir)
            assert status == 0, output
            assert '"result"' in output and '"error"' not in output
            assert "demo/Hello" not in code or '"Hello HAL 9000"' in output


@pytest.mark.parametrize("page", PAGES, ids=[os.path.relpath(page, ROOT) for page in PAGES])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page)):
        if not target.startswith(("http://", "https://")):
            assert os.path.exists(os.path.join(os.path.dirname(page), target)), target


def test_every_error_class_is_described():
    from Algorithmia import errors

    page = text_of(os.path.join(ROOT, "docs", "reference", "errors.md"))
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.ApiError):
            assert "`%s`" % name in page, name


def test_every_setting_is_described():
    from dataclasses import fields

    from Algorithmia.server.settings import Settings

    page = text_of(os.path.join(ROOT, "docs", "reference", "settings.md"))
    for item in fields(Settings):
        if item.name != "background":
            assert "`--%s`" % item.name.replace("_", "-") in page, item.name
            if item.metadata.get("variable"):
                assert "`%s`" % item.metadata["variable"] in page, item.name


def test_every_bundled_algorithm_is_described():
    from Algorithmia.server import catalog

    page = text_of(os.path.join(ROOT, "docs", "reference", "algorithms.md"))
    rows = dict(re.findall(r"^\| `(\w+/\w+)` \| ([0-9.]+) \|", page, re.MULTILINE))
    bundled = {project.owner + "/" + project.name: project for project in catalog.bundled()}
    assert rows == {name: ".".join(map(str, project.version())) for name, project in bundled.items()}
