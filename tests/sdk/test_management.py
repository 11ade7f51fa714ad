"""The SDK's management methods on a real platform, from a function to a published algorithm and back."""
import io
import itertools
import json
import os
import subprocess
import time

import pytest

from Algorithmia.errors import BadRequestError, ConflictError, NotFoundError, PermissionDeniedError

SETTINGS = {
    "language": "python3-1",
    "environment": "cpu",
    "source_visibility": "closed",
    "license": "apl",
    "network_access": "full",
    "pipeline_enabled": True,
}
GREET = u"def apply(input):\n    return 'Hello ' + input\n"

_names = itertools.count(1)


@pytest.fixture
def account(new_account):
    return new_account()


@pytest.fixture
def found(account):
    """A new algorithm of a new account."""
    made = account.client.algo("%s/Sdk%d" % (account.name, next(_names)))
    made.create({"label": "By the SDK"}, SETTINGS)
    return made


@pytest.fixture
def project(found, tmpdir):
    """A directory with a project for it."""
    directory = tmpdir.mkdir("project")
    write(directory, found, GREET)
    return directory


def write(directory, found, code):
    conf = {"username": found.username, "algoname": found.algoname, "language": "python3"}
    directory.join("algorithmia.conf").write(json.dumps(conf))
    directory.join("requirements.txt").write("")
    directory.ensure("src", "__init__.py")
    directory.join("src", found.algoname + ".py").write_text(code, "utf-8")


def deployed(found, project):
    build = found.wait_for_build(found.deploy(str(project))["build_id"])
    assert build.status == "succeeded", found.get_build_logs(build.build_id)
    return build


def test_from_a_function_to_a_published_algorithm(found, project, account):
    assert found.exists() and found.get_algorithm_id() == found.info().id
    pieces = []
    sent = found.deploy(str(project), message="My first")
    assert sent.created is True and len(sent.commit_sha) == 40
    build = found.wait_for_build(sent.build_id, pieces.append)
    assert build.status == build["status"] == "succeeded" and build.commit_sha == sent.commit_sha
    log = b"".join(pieces).decode("utf-8")
    assert log and found.get_build_logs(sent.build_id).logs == log == found.build_logs(sent.build_id)["logs"]
    assert found.deploy(str(project)) == {"commit_sha": sent.commit_sha, "build_id": sent.build_id, "created": False}
    published = found.publish(version_info={"version_type": "minor", "sample_input": '"you"'})
    assert published.version_info.semantic_version == "0.1.0"
    assert published["version_info"]["sample_output"] == '"Hello you"'
    assert account.client.algo("%s/0.1.0" % found.path).pipe("Neo").result == "Hello Neo"
    # As scripts for the 1.x client read it.
    assert found.versions(1).results[0].version_info.semantic_version == "0.1.0"
    assert found.info(sent.commit_sha).version_info.semantic_version == "0.1.0"
    assert found.info().version_info.git_hash == sent.commit_sha
    assert [build.build_id for build in found.builds(5).results] == [sent.build_id]
    assert found.get_builds()["results"][0] == found.get_build(sent.build_id)
    assert found.log().commits[0].message == "My first" and found.log(since=sent.commit_sha)["commits"] == []
    assert found.get_scm_status().scm_connection_status == "active"
    assert [entry.algoname for entry in account.client.algorithms()] == [found.algoname]
    assert account.client.algorithms(account.name) == account.client.algorithms()


def test_update_and_delete(found, account):
    changed = found.update({"tagline": "new"}, {"network_access": "isolated"})
    assert changed.details == {"label": "By the SDK", "tagline": "new"}
    assert changed.settings.network_access == "isolated"
    assert found.delete() is None and not found.exists()
    with pytest.raises(NotFoundError):
        found.delete()


def test_errors_name_what_is_wrong(found, account, new_account):
    with pytest.raises(ConflictError) as caught:
        found.create({"label": "x"}, SETTINGS)
    assert caught.value.code == 1002
    with pytest.raises(BadRequestError) as refused:
        found.update(settings={"license": "bsd"})
    assert "apache2" in str(refused.value)
    with pytest.raises(NotFoundError) as unbuilt:
        found.publish()
    assert unbuilt.value.code == 1010
    stranger = new_account()
    assert not stranger.client.algo(found.path).exists()
    with pytest.raises(PermissionDeniedError):
        stranger.client.algo(account.name + "/Mine").create({"label": "x"}, SETTINGS)


def test_compile(found, project):
    build = deployed(found, project)
    assert found.compile().build.build_id == build.build_id
    forced = found.compile(force=True)
    assert forced.build.build_id != build.build_id and forced.compilation.successful is True
    write(project, found, u"raise RuntimeError('no such luck')\n")
    failed = found.wait_for_build(found.deploy(str(project)).build_id)
    assert failed.status == "failed"
    assert "no such luck" in found.compile().compilation.output


def test_versions_filters(found, project):
    deployed(found, project)
    found.publish()
    write(project, found, GREET + u"#\n")
    deployed(found, project)
    numbers = [version.version_info.get("semantic_version") for version in found.versions().results]
    assert numbers == ["0.1.0", None]
    assert len(found.versions(published=False).results) == len(found.versions(published=True).results) == 1
    assert found.versions(callable=True).results == []
    first = found.versions(limit=1)
    assert first.next_link and found.versions(limit=1, marker=first.marker).marker is None


def test_secrets(found, account):
    assert found.get_secrets()["results"] == []
    assert account.client.get_secret_providers()[0]["isDefault"] is True
    made = found.set_secret("token", "TOKEN", "s3cret")
    assert made.secret_key == "TOKEN" and "s3cret" not in json.dumps(found.get_secrets())
    assert found.update_secret(made.id, secret_value="new", description="d").description == "d"
    assert found.delete_secret(made.id) is None and found.get_secrets().secrets == []


def test_errors_of_calls(found, project, account):
    write(project, found, u"def apply(input):\n    raise Exception('no ' + input)\n")
    build = deployed(found, project)
    calling = account.client.algo("%s/%s" % (found.path, build.commit_sha))
    with pytest.raises(Exception, match="no x"):
        calling.pipe("x")
    deadline = time.time() + 60
    while not found.errors() and time.time() < deadline:
        time.sleep(0.05)
    assert found.errors()[0].error.startswith("no x") and found.errors()[0].input == "x"
    assert account.client.get_algorithm_errors(found.get_algorithm_id()) == found.errors()
    assert account.client.get_user_errors(account.name) == found.errors()


def test_a_work_tree_is_deployed_as_git_would_commit_it(found, project):
    try:
        subprocess.check_call(["git", "init", "-q"], cwd=str(project))
    except OSError:
        pytest.skip("git is not installed")
    project.join(".gitignore").write("*.log\nsecret/\n")
    project.join("debug.log").write("x")
    project.ensure("secret", "key").write("x")
    project.join("notes.txt").write("kept")
    deployed(found, project)
    # Without git's rules, what tools leave behind stays away.
    project.join(".git").remove(rec=True)
    project.ensure("__pycache__", "a.pyc")
    project.ensure(".venv", "lib").write("x")
    before = found.log().commits[0].id
    for name in ("debug.log", "secret"):
        project.join(name).remove(rec=True)
    assert found.deploy(str(project)).commit_sha == before


def test_environments_and_templates(account, tmpdir):
    languages = [language.name for language in account.client.get_supported_languages()]
    assert "python3" in languages
    environment = account.client.get_environment("python3").environments[0]
    target = tmpdir.join("template")
    response = account.client.get_template(environment.environment_specification_id, str(target))
    assert response.status_code == 200
    assert target.join("src", "__ALGO__.py").check()
    with io.open(os.path.join(str(target), "algorithmia.conf"), encoding="utf-8") as conf:
        assert "__ALGO__" in conf.read()
