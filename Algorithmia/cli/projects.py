"""`algo test` and `algo deploy`: a project's directory, tried here and brought to the platform."""
import json
import os
import shutil
import tempfile
from collections import OrderedDict

from .. import errors
from .._compat import native
from ..project import Project
from . import exit_status, processes
from .algorithms import DEFAULT_LANGUAGE, new_settings, publish_build
from .builds import follow
from .context import CliError, UsageError
from .output import OutputFile, log_writer, write_json
from .remote import algorithm, connect
from .run import read_input, report_error, write_result

# What a project's file says about how it is tested.
_TEST_COMMANDS = (
    ("package.json", ("npm", "test", "--silent")),
    ("Cargo.toml", ("cargo", "test")),
    ("pom.xml", ("mvn", "-q", "test")),
    ("build.sbt", ("sbt", "test")),
    ("Rakefile", ("rake", "test")),
)
_NO_TESTS = 5  # pytest's exit status, and that of function_tests
_PYTEST = "import pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'src']))"
_WITHOUT_PYTEST = "from Algorithmia.cli.function_tests import main; main()"
_CONTENT_TYPES = {"text/plain; charset=utf-8": "text", "application/json": "json", "application/octet-stream": "binary"}


def test(args, env):
    """The test command."""
    project = _project(args.names, "test")
    if args.inputs:
        return _call(project, args, env)
    status = processes.run(
        _test_command(project), env, project.directory, timeout=args.timeout, variables=_variables(args)
    )
    if status == _NO_TESTS and _is_python(project):
        raise CliError("algo test: there are no tests; add src/%s_test.py, or give an input with -d" % project.name)
    return exit_status.FAILED if status else exit_status.OK


def _project(names, command):
    if len(names) > 1:
        raise UsageError("algo %s: error: give one DIRECTORY, not %d" % (command, len(names)))
    return Project(names[0] if names else ".")


def _is_python(project):
    return project.has("src", project.name + ".py") or project.has("src", "Algorithm.py")


def _test_command(project):
    if _is_python(project):
        try:
            import pytest  # noqa: F401
        except ImportError:
            return processes.python_command(_WITHOUT_PYTEST)
        return processes.python_command(_PYTEST)
    for name, command in _TEST_COMMANDS:
        if project.has(name):
            return list(command)
    r_tests = project.name + "_test.r"
    if project.has("src", r_tests):
        return ["Rscript", "src/" + r_tests]
    raise CliError(
        "algo test: don't know how %s is tested: there is none of src/%s.py, %s, src/%s"
        % (project.directory, project.name, ", ".join(name for name, _ in _TEST_COMMANDS), r_tests),
        exit_status.USAGE,
    )


def _variables(args):
    """For what runs here in the platform's place: the profile is this command's, and the project stays as it is."""
    variables = {"PYTHONDONTWRITEBYTECODE": "1"}
    if args.profile:
        variables["ALGORITHMIA_PROFILE"] = native(args.profile)
    return variables


def _call(project, args, env):
    """Call the algorithm here with the input that the options give."""
    body, content_type = read_input(args.inputs, env, "algo test")
    if not _is_python(project):
        raise CliError(
            "algo test: only Python projects can be called on this machine (there is no src/%s.py); without an input "
            "the project's own tests are run, and 'algo deploy' builds it on the platform" % project.name,
            exit_status.USAGE,
        )
    target = OutputFile(args.output) if args.output and args.output != "-" else None
    document = _answer(project, body, _CONTENT_TYPES[content_type], args, env)
    if "error" in document:
        return report_error(errors.from_error_member(document["error"]), env)
    write_result(document, args, env, target)
    return exit_status.OK


def _answer(project, body, content_type, args, env):
    directory = tempfile.mkdtemp(prefix="algo-test-")
    answer = os.path.join(directory, "answer.json")
    code = "from Algorithmia.adk.local import main; main(%r)" % ([content_type, answer],)
    try:
        status = processes.run(
            processes.python_command(code), env, project.directory, body, args.timeout, _variables(args)
        )
        if not os.path.exists(answer):
            raise CliError("algo test: the algorithm's process ended without an answer (exit status %d)" % status)
        with open(answer, "rb") as handle:
            return json.loads(handle.read().decode("ascii"), object_pairs_hook=OrderedDict)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def deploy(args, env):
    """The deploy command."""
    project = _project(args.names, "deploy")
    client = connect(args)
    found = algorithm(client, args.algorithm or project.reference)
    if found.version:
        raise UsageError("algo deploy: error: versions come from --publish; write OWNER/NAME")
    if not found.exists():
        found.create({"label": found.algoname}, new_settings(args.language or project.language or DEFAULT_LANGUAGE))
        env.note("Created algo://%s" % found.path)
    source = found.upload_source(project, args.message)
    env.note("%s commit %s" % ("Uploaded" if source["created"] else "Nothing has changed since", source["commit_sha"]))
    status = follow(found, source["build_id"], None if env.quiet else log_writer(env, to_stderr=True), env)
    if status != exit_status.OK:
        return status
    if args.publish:
        version = {"version_type": args.publish, "git_hash": source["commit_sha"]}
        answer = publish_build(found, version, args)
        path = "%s/%s" % (found.path, answer["version_info"]["semantic_version"])
    else:
        answer = found.get_build(source["build_id"])
        path = "%s/%s" % (found.path, source["commit_sha"])
    return _show_deployed(client, path, answer, args, env)


def _show_deployed(client, path, answer, args, env):
    url = "%s/v1/algo/%s" % (client.apiAddress, path)
    if args.json:
        write_json(env, dict(answer, url=url))
        return exit_status.OK
    env.out("algo://%s" % path)
    env.note(url)
    # The key stays out of what is shown and kept in the shell's history.
    profile = " --profile %s" % processes.shell_word(args.profile) if args.profile else ""
    env.note(
        "curl -H \"Authorization: %s $(algo auth --print-key%s)\" -H 'Content-Type: application/json' -d %s %s"
        % ("Simple" if client.apiKey else "Bearer", profile, processes.shell_word(args.sample_input or '"INPUT"'), url)
    )
    return exit_status.OK
