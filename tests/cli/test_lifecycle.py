# -*- coding: utf-8 -*-
"""An algorithm's life through the command line: create, clone, push, build, publish, call, deploy, secrets, delete."""
import hashlib
import json
import re
import subprocess
import sys

import pytest
from platforms import Completed, clean_environment

from .conftest import ROOT
from .names import fresh_name


@pytest.fixture
def git(algo):
    """``git("push", cwd=directory)`` as its user would type it in another shell, which knows nothing of `algo`."""

    def run(*words, **options):
        environment = clean_environment(algo.home)
        environment.pop("PYTHONPATH", None)
        environment.update(GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0")
        for role in ("AUTHOR", "COMMITTER"):
            environment.update({"GIT_%s_NAME" % role: "A", "GIT_%s_EMAIL" % role: "a@example.com"})
        process = subprocess.Popen(["git"] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment, cwd=str(options["cwd"]))
        return Completed(*(process.communicate() + (process.returncode,)))

    return run


def write_project(directory, name, code, owner="tester", requirements=""):
    directory.ensure(dir=True)
    directory.join("algorithmia.conf").write(
        json.dumps({"username": owner, "algoname": name, "language": "python3"}))
    directory.join(".adk").write("")
    directory.join("requirements.txt").write(requirements)
    directory.join("src").ensure(dir=True).join("__init__.py").write("")
    directory.join("src", name + ".py").write(code)
    return directory


def echo(word):
    return "from Algorithmia import ADK\ndef apply(input):\n    return '%s ' + input\nADK(apply).init()\n" % word


@pytest.fixture(scope="module")
def published(server, tmpdir_factory):
    """Name of an algorithm of `tester` with version 0.1.0, public, which answers ``seen INPUT``; and its one build."""
    name = fresh_name("Published")
    found = server.client().algo("tester/" + name)
    found.create({"label": name}, {"language": "python3", "environment": "cpu", "source_visibility": "closed",
                                   "license": "apl", "network_access": "full", "pipeline_enabled": True})
    source = found.deploy(str(write_project(tmpdir_factory.mktemp("published"), name, echo("seen"))))
    build = found.wait_for_build(source["build_id"])
    assert build["status"] == "succeeded", found.get_build_logs(build["build_id"])
    found.publish(settings={"algorithm_callability": "public"}, version_info={"release_notes": "the first\nof all"})
    return name, build


def test_from_nothing_to_a_call(algo, git, tmpdir, server):
    name = fresh_name()
    made = algo("create", "me/" + name, "--language", "python3", "--tagline", "says hello")
    assert (made.status, made.text) == (0, "Created algo://tester/%s\n" % name), made
    assert "algo clone tester/%s && cd %s" % (name, name) in made.stderr
    assert "%s/git/tester/%s.git" % (server.address, name) in made.stderr
    again = algo("create", "me/" + name)
    assert again.status == 1 and name in again.stderr
    cloned = algo("clone", "me/" + name)
    assert (cloned.status, cloned.stdout) == (0, b""), cloned
    project = tmpdir.join(name)
    tried = algo("test", "-d", "you", cwd=project)
    assert (tried.status, tried.text) == (0, "hello you\n"), tried
    assert algo("test", cwd=project).status == 0
    assert git("status", "--short", cwd=project).stdout == b""
    project.join("src", name + ".py").write(echo("moin"))
    assert git("commit", "-qam", "Northern", cwd=project).status == 0
    pushed = git("push", cwd=project)
    assert pushed.status == 0 and "remote: " in pushed.stderr and server.key not in pushed.stderr, pushed
    commit = git("rev-parse", "HEAD", cwd=project).text.strip()
    builds = algo("builds", "me", name).json
    assert [build["commit_sha"] for build in builds] == [commit] and builds[0]["status"] == "succeeded", builds
    assert commit[:12] in algo("logs", cwd=project).text
    sample = '{"a": "it\'s"}'
    release = algo("publish", "me/" + name, "--minor", "--private", "--sample-input", '"hi"', "--release-notes", "-x")
    assert (release.status, release.text) == (0, "Published algo://tester/%s/0.1.0\n" % name), release
    assert "algo run tester/%s/0.1.0 -d '\"hi\"'" % name in release.stderr
    assert algo("run", "me/%s/0.1.0" % name, "-d", "hi").text == "moin hi\n"
    answer = algo("publish", "--revision", "--commit", commit, "--sample-input", sample, cwd=project)
    assert answer.status == 1 and "0.1.0" in answer.stderr  # it is published already
    answer = algo("publish", "--revision", "--commit", commit, "--sample-input", sample, "--rebuild", cwd=project)
    assert (answer.status, answer.text) == (0, "Published algo://tester/%s/0.1.1\n" % name), answer
    assert len(algo("builds", "me", name).json) == 2
    project.join("src", name + ".py").write("raise RuntimeError('no such luck')\n")
    assert git("commit", "-qam", "Broken", cwd=project).status == git("push", cwd=project).status == 0
    answer = algo("publish", "--rebuild", cwd=project)
    assert answer.status == 1 and "no such luck" in answer.stderr and "nothing was published" in answer.stderr, answer
    old = algo("clone", "me/%s/0.1.0" % name, "old")
    assert old.status == 0 and "moin" in tmpdir.join("old", "src", name + ".py").read(), old


def test_clone_of_somebody_elses_closed_source(algo, published, new_account, server):
    other = new_account()
    env = {"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": other.key}
    for words in (("clone", "tester/" + published[0]), ("builds", "tester/" + published[0]),
                  ("logs", "tester/" + published[0]), ("logs", "tester/" + published[0], published[1]["build_id"]),
                  ("errors", "tester/" + published[0]), ("secrets", "ls", "tester/" + published[0]),
                  ("secrets", "rm", "tester/" + published[0], "K"), ("delete", "tester/" + published[0], "--yes"),
                  ("publish", "tester/" + published[0])):
        ran = algo(*words, env=env, configured=False)
        assert ran.status in (3, 4) and ran.stdout == b"" and "Traceback" not in ran.stderr, (words, ran)
    assert algo("create", "tester/" + fresh_name(), env=env, configured=False).status == 3
    # What is public is for everybody.
    assert algo("run", "tester/" + published[0], "-d", "x", env=env, configured=False).text == "seen x\n"
    assert algo("versions", "tester/" + published[0], env=env, configured=False).text.startswith("0.1.0  public")
    assert algo("info", "tester/" + published[0], env=env, configured=False).status == 0


def test_a_key_that_may_not_manage(algo, published, server):
    from platforms import new_key

    key, _ = new_key(server, "tester", allow_data=True, allow_algo=True, algo_acl=["algo://*"])
    env = {"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": key}
    for words in (("create", "tester/" + fresh_name()), ("publish", "tester/" + published[0]),
                  ("delete", "tester/" + published[0], "--yes"), ("secrets", "ls", "tester/" + published[0])):
        ran = algo(*words, env=env, configured=False)
        assert (ran.status, ran.stdout) == (3, b""), (words, ran)


def test_unknown_key(algo, server):
    env = {"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": "sim" + "x" * 25}
    for words in (("create", "tester/X"), ("info", "tester/X"), ("algorithms",), ("languages",)):
        assert algo(*words, env=env, configured=False).status == 3


def test_builds(algo, published):
    name, build = published
    row = algo("builds", "tester/" + name)
    assert row.status == 0 and row.text.split()[:3] == [build["build_id"], "succeeded", build["commit_sha"][:10]]
    assert row.text.split()[-1] == "0.1.0"
    assert [item["build_id"] for item in algo("builds", "tester/" + name, "--json").json] == [build["build_id"]]
    old = algo("builds", "tester", name)
    assert old.text.startswith('[\n {\n  "') and old.json[0]["build_id"] == build["build_id"]
    assert algo("builds", "tester/None" + name).status == 4
    assert algo("builds", "tester/" + name, "tester/" + name).status == 2


def test_logs(algo, published):
    name, build = published
    shown = algo("logs", "tester/" + name)
    assert shown.status == 0 and build["commit_sha"][:12] in shown.text and not shown.text.endswith("\n\n")
    followed = algo("logs", "-f", "tester/" + name, build["build_id"])
    assert (followed.status, followed.text) == (0, shown.text)
    assert algo("logs", "tester/" + name, "0" * 36).status == 4
    assert algo("logs", "tester/" + name, "a", "b").status == 2


def test_algorithm_without_a_build(algo):
    name = fresh_name()
    assert algo("create", "tester/" + name, "-q").stdout == b""
    ran = algo("logs", "me/" + name)
    assert ran.status == 4 and "no build yet" in ran.stderr
    assert algo("builds", "me/" + name).stdout == b"" and algo("builds", "me", name).json == []
    assert algo("publish", "me/" + name).status == 4
    assert algo("versions", "me/" + name, "--json").json == []


def test_versions_and_info(algo, published, server):
    name, build = published
    assert algo("versions", "tester/" + name).text == "0.1.0  public  %s  the first\n" % build["commit_sha"][:10]
    found = algo("versions", "tester/" + name, "--json").json
    assert [version["version_info"]["semantic_version"] for version in found] == ["0.1.0"]
    shown = algo("info", "tester/" + name).text
    for line in ("algorithm: +tester/" + name, "version: +0.1.0", "commit: +" + build["commit_sha"], "license: +apl",
                 "build: +%s, succeeded" % build["build_id"]):
        assert re.search("(?m)^%s$" % line, shown), shown
    assert algo("info", "tester/" + name, "--json").json["name"] == name
    assert algo("info", "tester/None" + name).status == 4
    listed = algo("algorithms").text.splitlines()
    assert "tester/" + name in listed and listed == algo("algorithms", "tester").text.splitlines()
    assert name in [item["algoname"] for item in algo("algorithms", "me", "--json").json]
    assert "demo/Hello" in algo("algorithms", "demo").text.splitlines()
    assert algo("algorithms", "nobody_here").status == 4


def test_create_with_all_there_is(algo):
    name = fresh_name()
    made = algo("create", "me/" + name, "--environment", current_environment(algo)["name"], "--open", "--license",
                "mit", "--network", "isolated", "--no-pipeline", "--label", "-Life-", "--summary", "# Life", "--json")
    assert made.status == 0, made
    details, settings = made.json["details"], made.json["settings"]
    assert (details["label"], details["summary"]) == ("-Life-", "# Life")
    assert (settings["source_visibility"], settings["license"], settings["network_access"],
            settings["pipeline_enabled"]) == ("open", "mit", "isolated", False)
    by_id = algo("create", "me/" + fresh_name(), "--environment", current_environment(algo)["id"], "--json").json
    assert by_id["settings"]["algorithm_environment"] == current_environment(algo)["id"]


def test_create_refused(algo):
    assert algo("create", "me/" + fresh_name(), "--language", "cobol").status == 1
    assert algo("create", "me/" + fresh_name(), "--license", "beer").status == 2
    assert algo("create", "me/%s/1.0.0" % fresh_name()).status == 2
    assert algo("create", "me").status == 2
    assert algo("create", "me/X", "--language", "python3", "--environment", "python311").status == 2
    assert algo("create", "me/" + fresh_name(), "--closed", "--license", "mit").status == 1
    assert algo("create", "me/../x").status == 2 and algo("create", "me/no way").status == 1


# -- deploy -------------------------------------------------------------------------------------------------------


def test_deploy(algo, tmpdir, server):
    name = fresh_name("Deployed")
    project = write_project(tmpdir.join(name), name, echo("first"))
    ran = algo("deploy", "--publish", "minor", "--public", "--sample-input", '"it\'s"', "-m", "-one-", cwd=project)
    url = "%s/v1/algo/tester/%s/0.1.0" % (server.address, name)
    assert (ran.status, ran.text) == (0, "algo://tester/%s/0.1.0\n" % name), ran
    assert "Created algo://tester/" + name in ran.stderr and "Uploaded commit" in ran.stderr
    assert "SUCCEEDED" in ran.stderr and url in ran.stderr.splitlines() and server.key not in ran.stderr
    line = [line for line in ran.stderr.splitlines() if line.startswith("curl ")][0]
    assert "$(algo auth --print-key)" in line
    program = 'algo() { "%s" -m Algorithmia "$@"; }; ' % sys.executable
    called = subprocess.Popen(["sh", "-c", program + line.replace("curl ", "curl -s ")], stdout=subprocess.PIPE,
                              env=dict(clean_environment(algo.home), PYTHONPATH=ROOT)).communicate()[0]
    assert json.loads(called.decode())["result"] == "first it's"
    assert "-one-" in json.dumps(server.client().algo("tester/" + name).log())
    again = algo("deploy", project)
    assert again.status == 0 and "Nothing has changed" in again.stderr and "Created" not in again.stderr
    project.join("src", name + ".py").write(echo("second"))
    answer = algo("deploy", project, "--json", "-q")
    assert answer.status == 0 and answer.stderr == "" and answer.json["status"] == "succeeded"
    assert answer.json["url"].endswith("/" + answer.json["commit_sha"])
    assert algo("run", "me/%s/%s" % (name, answer.json["commit_sha"]), "-d", "x").text == "second x\n"
    assert algo("run", "me/%s/0.1.0" % name, "-d", "x").text == "first x\n"
    assert algo("deploy", project, "--publish", "major", "--json").json["version_info"]["semantic_version"] == "1.0.0"


def test_deploy_that_does_not_build(algo, tmpdir):
    name = fresh_name("Broken")
    project = write_project(tmpdir.join(name), name, "import nothing_like_it\n")
    ran = algo("deploy", project, "--publish", "minor")
    assert (ran.status, ran.stdout) == (1, b"") and "nothing_like_it" in ran.stderr and "Traceback (most" in ran.stderr
    assert algo("versions", "me/" + name).stdout == b""
    assert algo("builds", "me/" + name).text.split()[1] == "failed"
    assert "nothing_like_it" in algo("logs", "me/" + name).text and algo("logs", "me/" + name).status == 0
    assert algo("logs", "me/" + name, "-f").status == 1


def test_deploy_of_no_project(algo, tmpdir):
    ran = algo("deploy", tmpdir)
    assert ran.status == 2 and "algorithmia.conf" in ran.stderr
    project = write_project(tmpdir.join("P"), "P", "", owner="nobody_here")
    assert algo("deploy", project).status in (3, 4)
    assert algo("deploy", project, "--algorithm", "me/P/1.0.0").status == 2
    assert algo("deploy", project, "--publish", "huge").status == 2


# -- secrets, errors, delete --------------------------------------------------------------------------------------


def test_secrets(algo, tmpdir, server):
    name = fresh_name("Secretive")
    code = echo("").replace("return", "import os\n    return os.environ['WORD'] #")
    assert algo("deploy", write_project(tmpdir.join(name), name, code), "-q").status == 0
    value = u"g\u00fcn\n".encode("utf-8")
    stored = algo("secrets", "set", "me/" + name, "WORD", "--description", "a word", stdin=value)
    assert (stored.status, stored.text) == (0, "Stored secret WORD of algo://tester/%s\n" % name), stored
    assert algo("secrets", "ls", "me/" + name).text == "WORD  a word\n"
    listed = algo("secrets", "ls", "me/" + name, "--json")
    assert listed.json[0]["secret_key"] == "WORD" and u"g\u00fcn" not in listed.text
    build = algo("builds", "me", name).json[0]["commit_sha"]
    assert algo("run", "me/%s/%s" % (name, build), "-d", "x").text == u"g\u00fcn\n"
    assert algo("secrets", "set", "me/" + name, "WORD", stdin=b"two\nlines\n").text.startswith("Replaced secret WORD")
    assert len(algo("secrets", "ls", "me/" + name, "--json").json) == 1
    assert algo("run", "me/%s/%s" % (name, build), "-d", "x").text == "two\nlines\n"
    for value in (b"", b"\n", b"\xff"):
        assert algo("secrets", "set", "me/" + name, "WORD", stdin=value).status == 2
    assert algo("secrets", "rm", "me/" + name, "WORD").status == 0
    assert algo("secrets", "rm", "me/" + name, "WORD").status == 4
    assert algo("secrets", "ls", "me/" + name).stdout == b""


def test_errors(algo, tmpdir):
    name = fresh_name("Failing")
    project = write_project(tmpdir.join(name), name, echo("x").replace("return", "raise ValueError(input)\n    return"))
    assert algo("deploy", project, "--publish", "minor", "-q").status == 0
    none = algo("errors", "me/" + name)
    assert none.stdout == b"" and "has failed in the last seven days" in none.stderr
    assert algo("run", "me/%s/0.1.0" % name, "-d", "boom").status == 1
    shown = algo("errors", cwd=project).text
    assert "boom" in shown and "0.1.0" in shown and "tester" in shown and len(shown.splitlines()) == 1
    assert "boom" in algo("errors", "me/" + name, "--json").json[0]["error"]


def test_delete(algo, cli, profile, server):
    name = fresh_name("Doomed")
    algo("create", "me/" + name)
    refused = algo("delete", "me/" + name)
    assert refused.status == 2 and "--yes" in refused.stderr
    assert algo("delete", "me/%s/0.1.0" % name, "--yes").status == 2
    profile(server.address, key=server.key)
    for typed, status in ((b"other\n", 1), (b"", 2), (name.encode() + b"\n", 0)):
        ran = cli("delete", "me/" + name, stdin=typed, typed=True)
        assert ran.status == status, ran
    gone = algo("delete", "me/" + name, "--yes")
    assert gone.status == 4
    algo("create", "me/" + name)
    assert algo("delete", "me/" + name, "--yes").text == "Deleted algo://tester/%s\n" % name


def test_delete_of_what_others_use(algo, published):
    ran = algo("delete", "me/" + published[0], "--yes")
    assert ran.status == 1 and "public" in ran.stderr


# -- languages and templates --------------------------------------------------------------------------------------


def current_environment(algo):
    found = algo("environment", "python3").json
    return [environment for environment in found if environment.get("available", True)][0]


def test_languages(algo):
    lines = algo("languages").text.splitlines()
    assert lines[0] == "%-25s %-35s" % ("Name", "Description")
    assert "%-25s %-35s" % ("python3", "Python 3.x (Environments)") in lines
    assert "python3" in [language["name"] for language in algo("languages", "--json").json]


def test_environment(algo):
    ran = algo("environment", "python3")
    assert ran.status == 0 and ran.text.startswith('[\n {\n  "')
    assert set(ran.json[0]) >= {"id", "environment_specification_id", "display_name", "language", "machine_type"}
    assert algo("environment", "python3", "--json").json == ran.json
    assert algo("environment", "cobol").status == 4


def test_environment_for_people(cli, profile, server):
    profile(server.address, key=server.key)
    first = cli("environment", "python3").json[0]
    lines = cli("environment", "python3", terminal=True).out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "ID", "ENVSPEC_ID"]
    assert lines[1].startswith(first["display_name"]) and first["id"] in lines[1]
    assert first["environment_specification_id"] in lines[1]
    assert cli("environment", "python3", "--json", terminal=True).json[0] == first


def test_template(algo, tmpdir):
    specification = current_environment(algo)["environment_specification_id"]
    ran = algo("template", specification, "made/here")
    assert (ran.status, ran.stdout, ran.stderr) == (0, b"", "")
    assert tmpdir.join("made", "here", "algorithmia.conf").check()
    here = tmpdir.mkdir("here")
    assert algo("template", specification, ".", cwd=here).status == 0 and here.join("src").check()
    assert algo("template", "0" * 8, "none").status == 4 and not tmpdir.join("none").check()


def test_freeze(algo, collection, tmpdir):
    collection.file("model.bin").put(b"weights")
    entry = {"name": "m", "source_uri": "data://%s/model.bin" % collection.path}
    manifest = {"required_files": [entry], "optional_files": []}
    tmpdir.join("model_manifest.json").write(json.dumps(manifest))
    ran = algo("freeze")
    assert ran.status == 0 and "model_manifest.json.freeze" in ran.text, ran
    frozen = json.loads(tmpdir.join("model_manifest.json.freeze").read())
    assert frozen["required_files"][0]["md5_checksum"] == hashlib.md5(b"weights").hexdigest()
    assert frozen["lock_checksum"]
    tmpdir.mkdir("out")
    assert algo("freeze", "model_manifest.json", "--output-dir", "out", "-q").stdout == b""
    assert tmpdir.join("out", "model_manifest.json.freeze").check()
    missing = algo("freeze", "none.json")
    assert missing.status == 2 and "none.json" in missing.stderr
