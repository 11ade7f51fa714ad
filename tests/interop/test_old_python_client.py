"""The old Python client as it was published, SDK and command, in processes of its own against our platform.

What is asserted is what works in that client; its own defects (a bare Exception instead of the platform's message,
names that it does not escape, ...) are left alone.
"""
import itertools
import json
import os
import sys
import textwrap

import pytest
from published import install_with, installed, minimal_environment, run

VERSION = "2.0.5"
_names = itertools.count(1)

# Scripts hand over what they found with show(); it is JSON, so bytes go as the list of their values.
PRELUDE = """\
import json
import sys
import Algorithmia
from Algorithmia.acl import Acl, AclType, ReadAcl
from Algorithmia.algorithm import OutputType
from Algorithmia.errors import AlgorithmException, ApiError, DataApiError

shown = []

def show(*values):
    shown.extend(list(value) if isinstance(value, bytes) else value for value in values)

def raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as problem:
        return [type(problem).__name__, str(problem)]
    return None

key, address, name = sys.argv[1:]
client = Algorithmia.client(key, address)
"""


@pytest.fixture(scope="session")
def venv(tmpdir_factory):
    """The `bin` directory of a virtual environment with the published client; it never sees this repository."""

    def install(directory):
        install_with(sys.executable, "-m", "venv", directory)
        install_with(os.path.join(directory, "bin", "python"), "-m", "pip", "install", "-q", "algorithmia==" + VERSION)

    name = "python%d.%d-algorithmia-%s" % (sys.version_info[:2] + (VERSION,))
    return os.path.join(installed(tmpdir_factory, name, install), "bin")


@pytest.fixture
def old(venv, server, tmpdir):
    """A function that runs a script with the old client and returns what the script showed.

    `client`, `key`, `address` and `name` (of a collection that no other test uses) are there; files of `tmpdir` too.
    """
    name = "old%d_%d" % (os.getpid(), next(_names))

    def run_script(script, key=None):
        source = PRELUDE + textwrap.dedent(script) + "\nprint(json.dumps(shown))\n"
        command = [os.path.join(venv, "python"), "-c", source, key or server.key, server.address, name]
        done = run(command, minimal_environment(tmpdir), tmpdir)
        assert done.status == 0, done
        return done.json

    yield run_script
    left = server.client().dir("data://.my/" + name)
    if left.exists():
        left.delete(force=True)


@pytest.fixture
def old_algo(venv, server, tmpdir):
    """A function that runs the old `algo` command, which finds key and address in its environment."""

    def run_command(*arguments):
        environment = minimal_environment(tmpdir, ALGORITHMIA_API_KEY=server.key, ALGORITHMIA_API=server.address)
        command = [os.path.join(venv, "python"), os.path.join(venv, "algo")] + list(arguments)
        return run(command, environment, tmpdir)

    return run_command


def test_it_is_the_published_client(venv, old, tmpdir):
    (path,) = old("show(Algorithmia.__file__)")
    assert os.path.realpath(path).startswith(os.path.realpath(os.path.dirname(venv)))
    listed = run([os.path.join(venv, "python"), "-m", "pip", "freeze"], minimal_environment(tmpdir), tmpdir).text
    assert ("algorithmia==" + VERSION) in listed.splitlines()


def test_calls_with_text_json_binary(old):
    shown = old(u"""
        response = client.algo("demo/Hello").pipe("HAL 9000")
        show(response.result, response.metadata.content_type, response.metadata.duration >= 0, response.metadata.stdout)
        echo = client.algo("algo://util/Echo")
        for value in ("h\\u00e4llo \\u2603", "", ["a", 1, 2.5, None, True, {"k": []}], {"a": {"b": 1}}, 7, None):
            response = echo.pipe(value)
            show(response.result == value, response.metadata.content_type)
        data = bytes(bytearray(range(256)))
        show(echo.pipe(data).result == data, echo.pipe(bytearray(data)).metadata.content_type)
    """)
    assert shown[:4] == ["Hello HAL 9000", "text", True, None]
    assert shown[4:16] == [True, "text"] * 2 + [True, "json"] * 4
    assert shown[16:] == [True, "binary"]


@pytest.mark.parametrize(
    "reference", ["demo/Hello/", "/demo/Hello", "algo://demo/Hello/0.1.0", "demo/Hello/0.1.*", "demo/Hello/0.*"]
)
def test_forms_of_a_reference(old, reference):
    assert old('show(client.algo(%r).pipe("x").result)' % reference) == ["Hello x"]


def test_raw_output(old):
    shown = old(u"""
        show(client.algo("demo/Hello").set_options(output=OutputType.raw).pipe("HAL"))
        show(json.loads(client.algo("util/Echo").set_options(output=OutputType.raw).pipe({"a": [1, "\\u00fc"]})))
    """)
    assert shown == ["Hello HAL", {"a": [1, u"\u00fc"]}]


def test_void_output(old):
    """It starts the call and does not wait; that the algorithm ran shows in the file that it writes."""
    protocol, request_id, found = old("""
        import time
        client.dir("data://.my/" + name).create()
        client.file("data://.my/%s/source" % name).put("from afar")
        paths = {part: "data://.my/%s/%s" % (name, part) for part in ("source", "target")}
        response = client.algo("util/CopyData").set_options(output=OutputType.void).pipe(paths)
        deadline = time.time() + 60
        target = client.file(paths["target"])
        while not target.exists() and time.time() < deadline:
            time.sleep(0.1)
        show(response.async_protocol, response.request_id, target.getString())
    """)
    assert protocol == "void" and request_id.startswith("req-") and found == "from afar"


def test_options(old):
    shown = old("""
        show(client.algo("util/Sleep").set_options(timeout=60, stdout=False).pipe(0).result)
        show(raised(client.algo("util/Sleep").set_options(timeout=1).pipe, 30))
        response = client.algo("util/Print").set_options(stdout=True).pipe("printed")
        show("printed" in response.metadata.stdout, response.metadata.full_metadata["content_type"])
        show(client.algo("util/Print").set_options(unheard_of="of", timeout=2.5).pipe("x").result["stdout"])
    """)
    assert shown[0] == {"slept": 0.0}
    assert shown[1][0] == "AlgorithmException" and "timed-out" in shown[1][1]
    assert shown[2:] == [True, "json", 1]


def test_errors_of_algorithms(old):
    shown = old("""
        try:
            client.algo("util/Fail").pipe({"message": "boom", "error_type": "UnsupportedError"})
        except ApiError as problem:
            show(type(problem).__name__, problem.message, problem.error_type)
        show(raised(client.algo("util/Fail").pipe, "plain"))
        show(client.algo("demo/Hello").pipe("still there").result)
    """)
    assert shown[:3] == ["AlgorithmException", "boom", "UnsupportedError"]
    assert shown[3] == ["AlgorithmException", "'plain'"] and shown[4] == "Hello still there"


def test_calls_that_are_refused(old):
    """The old client shows the status only: it reads no error document of a POST."""
    shown = old("""
        show(raised(client.algo("demo/NoSuchAlgo").pipe, "x"))
        stranger = Algorithmia.client("sim" + "x" * 25, address)
        show(raised(stranger.algo("demo/Hello").pipe, "x"))
        show(raised(list, stranger.dir("data://.my").list()))
    """)
    assert shown[0] == ["Exception", "Non-Algorithm related Failure: <Response [404]>"]
    assert shown[1] == ["Exception", "Non-Algorithm related Failure: <Response [401]>"]
    assert shown[2][0] == "DataApiError" and "unknown API key" in shown[2][1]


def test_files(old, tmpdir):
    tmpdir.join("local.bin").write_binary(b"\x00\x01local\xff")
    shown = old(u"""
        home = client.dir("data://.my/" + name)
        show(home.exists())
        home.create()
        show(home.exists())
        text = home.file("text.txt")
        show(text.exists(), text.put("h\\u00e4llo").exists(), text.getString(), text.getName())
        show(text.getFile().read(), open(text.getFile(as_path=True), "rb").read() == "h\\u00e4llo".encode("utf-8"))
        numbers = client.file("data://.my/%s/numbers.json" % name)
        show(numbers.putJson({"a": [1, None, "\\u00fc"]}).getJson())
        raw = client.file(".my/%s/raw" % name)
        show(raw.put(b"\\x00\\xff123").getBytes(), raw.put(b"123").getBytes(), raw.put(b"").getBytes())
        show(home.file("copy.bin").putFile("local.bin").getBytes())
        show(text.delete(), text.exists(), text.existsWithError()[1])
        show(raised(text.getString), raised(text.delete))
        show(raised(client.file("data://.my/no_such_%s/f" % name).getBytes)[0])
    """)
    assert shown[:2] == [False, True]
    assert shown[2:6] == [False, True, u"h\u00e4llo", "text.txt"]
    assert shown[6:8] == [u"h\u00e4llo", True]
    assert shown[8] == {"a": [1, None, u"\u00fc"]}
    assert shown[9:12] == [[0, 255, 49, 50, 51], [49, 50, 51], []]
    assert shown[12] == list(bytearray(b"\x00\x01local\xff"))
    assert shown[13:15] == [True, False] and "text.txt" in shown[15]
    assert shown[16][0] == "DataApiError" and "unable to get file .my/" in shown[16][1] and "text.txt" in shown[16][1]
    assert shown[17][0] == "DataApiError" and "not found" in shown[17][1]
    assert shown[18] == "DataApiError"


def test_files_as_file_objects(old):
    shown = old("""
        home = client.dir("data://.my/" + name)
        home.create()
        home.file("lines").put("one\\ntwo\\nthree\\n")
        item = client.file("data://.my/%s/lines" % name, cleanup=True)
        show(item.readlines(), item.tell(), item.seek(4), item.read())
        show(client.file("data://.my/%s/lines" % name, cleanup=True).readline())
        with client.file("data://.my/%s/lines" % name, cleanup=True) as stream:
            show(stream.read())
    """)
    assert shown == [["one\n", "two\n", "three\n"], 14, 4, "two\nthree\n", "one\n", "one\ntwo\nthree\n"]


def test_zip_files_and_whole_directories(old, tmpdir):
    tmpdir.mkdir("tree").join("a.txt").write("A")
    tmpdir.join("tree", "b.txt").write("B")
    shown = old("""
        import os
        home = client.dir("data://.my/" + name)
        home.create()
        unpacked = home.file("tree.zip").putAsZip("tree").getAsZip()
        show({item: open(os.path.join(unpacked, item)).read() for item in os.listdir(unpacked)})
        home.file("one").put("1")
        home.file("two").put("2")
        show(sorted(os.listdir(home.getDir())))
    """)
    assert shown == [{"a.txt": "A", "b.txt": "B"}, ["one", "tree.zip", "two"]]


def test_listings(old):
    shown = old("""
        import datetime
        home = client.dir("data://.my/" + name)
        home.create()
        show([item.path for item in home.list()])
        home.file("f1").put("12345")
        home.file("f 2").put("")
        files = sorted(home.files(), key=lambda item: item.path)
        show([item.path for item in files] == [".my/%s/f 2" % name, ".my/%s/f1" % name])
        show([item.size for item in files], abs(datetime.datetime.utcnow() - files[0].last_modified).days)
        show(files[1].getString(), list(home.dirs()), home.getName() == name)
        show(name in [item.getName() for item in client.dir("data://.my").dirs()])
        show(list(client.dir("data://.my").files()))
        show([item.path for item in home.list()] == [item.path for item in client.dir("data://.my/%s/" % name).list()])
        show(raised(list, client.dir("data://.my/no_such_" + name).list())[0])
    """)
    assert shown == [[], True, [0, 5], 0, "12345", [], True, True, [], True, "DataApiError"]


def test_a_listing_of_several_pages(old):
    """A page holds 1000 files; there are 1100, as in the live tests of the published clients."""
    shown = old("""
        home = client.dir("data://.my/" + name)
        home.create()
        expected = ["file%04d.txt" % number for number in range(1100)]
        for item in expected:
            home.file(item).put(item)
        page = client.getJsonHelper(home.url)
        show(len(page["files"]), bool(page["marker"]))
        show(sorted(item.getName() for item in home.files()) == expected)
        show(sum(1 for item in home.list()), sum(item.size for item in home.files()))
        show(home.delete(force=True), home.exists())
    """)
    assert shown == [1000, True, True, 1100, 1100 * len("file0000.txt"), True, False]


def test_permissions(old, server, new_account):
    shown = old("""
        home = client.dir("data://.my/" + name)
        home.create()
        show(home.get_permissions().read_acl is AclType.default)
        for acl in (ReadAcl.public, ReadAcl.private, ReadAcl.my_algos):
            show(home.update_permissions(acl), home.get_permissions().read_acl is acl.read_acl)
        show(home.delete())
        home.create(ReadAcl.private)
        show(home.get_permissions().read_acl is AclType.private, home.delete())
        home.create(Acl(AclType.public))
        show(home.get_permissions().read_acl.acl_string, name)
        home.file("f").put("for all")
    """)
    assert shown[:-2] == [True] * 10 and shown[-2] == "user://*"
    uri = "data://%s/%s/f" % (server.user, shown[-1])
    read = 'show(client.file("%s").getString(), raised(client.file("%s").put, "no")[0])' % (uri, uri)
    assert old(read, new_account().key) == ["for all", "Exception"]


def test_directories_are_deleted(old):
    shown = old("""
        home = client.dir("data://.my/" + name)
        home.create()
        show(raised(home.create)[0])
        home.file("f").put("x")
        show(raised(home.delete), home.exists(), home.file("f").exists())
        show(home.delete(force=True), home.exists(), raised(home.delete))
        home.create()
        show(home.delete(), home.exists())
    """)
    assert shown[0] == "Exception"
    assert shown[1][0] == "DataApiError" and "force=true" in shown[1][1] and shown[2:4] == [True, True]
    assert shown[4:6] == [True, False] and shown[6][0] == "DataApiError" and "not found" in shown[6][1]
    assert shown[7:] == [True, False]


def test_own_name(old, server):
    shown = old("""
        user = client.username()
        home = client.dir("data://%s/%s" % (user, name))
        home.create()
        home.file("f").put("x")
        show(user, client.file("data://.my/%s/f" % name).getString())
    """)
    assert shown == [server.user, "x"]


def test_the_module_s_own_functions(venv, server, tmpdir):
    """`Algorithmia.algo()` and the like, with key and address from the environment."""
    script = 'import Algorithmia; print(Algorithmia.algo("demo/Hello").pipe("x").result, Algorithmia.dir("data://.my").exists())'
    environment = minimal_environment(tmpdir, ALGORITHMIA_API_KEY=server.key, ALGORITHMIA_API=server.address)
    assert run([os.path.join(venv, "python"), "-c", script], environment, tmpdir).text == "Hello x True\n"


def test_a_key_in_the_form_of_a_token_is_sent_as_bearer(venv, server, tmpdir):
    script = "import os, Algorithmia; print(Algorithmia.client().algo('demo/Hello').pipe('x').result)"
    environment = minimal_environment(tmpdir, ALGORITHMIA_BEARER_TOKEN=server.key, ALGORITHMIA_API=server.address)
    assert run([os.path.join(venv, "python"), "-c", script], environment, tmpdir).text == "Hello x\n"


MANAGED = """
        settings = {"language": "python3-1", "environment": "cpu", "source_visibility": "closed", "license": "apl",
                    "network_access": "full", "pipeline_enabled": True}
        algo = client.algo("algo://%s/%s" % (client.username(), name))
"""


def test_managing_an_algorithm(old):
    """The pipeline of the management guide: create, compile, builds, publish, versions, info, call."""
    shown = old(MANAGED + """
        show(algo.exists())
        made = algo.create({"label": "Old"}, settings, version_info={"sample_input": '"old"'})
        show(made["name"] == name, made["resource_type"], algo.exists(), "error" in made)
        compiled = algo.compile()
        show(compiled["compilation"]["successful"], len(compiled["version_info"]["git_hash"]))
        builds = algo.get_builds()["results"]
        build = algo.get_build(builds[0]["build_id"])
        show(len(builds), build["status"], build["commit_sha"] == compiled["version_info"]["git_hash"])
        show(algo.get_build_logs(build["build_id"])["logs"] == compiled["compilation"]["output"])
        published = algo.publish(
            settings={"algorithm_callability": "private"},
            version_info={"version_type": "minor", "release_notes": "first"},
        )
        info = published["version_info"]
        show(info["semantic_version"], info["sample_input"], info["sample_output"], info["release_notes"])
        show([version["version_info"]["semantic_version"] for version in algo.versions()["results"]])
        show(len(algo.versions(limit=1, published=True)["results"]), algo.versions(callable=True)["results"])
        show(algo.info()["results"][0] == algo.versions()["results"][0])
        show(algo.info(info["git_hash"])["version_info"]["semantic_version"])
        show(algo.get_scm_status()["scm_connection_status"], client.scms()["results"][0]["id"])
        show(client.algo("%s/0.1.0" % algo.path).pipe("x").result)
        # This client sends a failed request once more.
        show(raised(algo.publish)[0], len(algo.versions()["results"]))
        show(raised(algo.update, {"label": "New"})[0], client.get_algorithm_errors(made["id"]))
    """)
    assert shown[:5] == [False, True, "algorithm", True, False]
    assert shown[5:11] == [True, 40, 1, "succeeded", True, True]
    assert shown[11:15] == ["0.1.0", '"old"', '"hello old"', "first"]
    assert shown[15:21] == [["0.1.0"], 1, [], True, "0.1.0", "active"]
    assert shown[21:] == ["internal", "hello x", "Exception", 1, "Exception", []]


def test_secrets_of_an_algorithm(venv, server, tmpdir, old):
    """The client prints what it sends, so the script's last line counts."""
    name = "oldsecret%d" % os.getpid()
    script = PRELUDE + textwrap.dedent(MANAGED + """
        algo.create({"label": "Old"}, settings)
        made = algo.set_secret("short", "TOKEN", "the value")
        listed = algo.get_secrets()
        show(made["secret_key"], [item["short_name"] for item in listed["secrets"]], "the value" in str(listed))
        print(json.dumps(shown))
    """)
    done = run([os.path.join(venv, "python"), "-c", script, server.key, server.address, name],
               minimal_environment(tmpdir), tmpdir)  # fmt: skip
    assert done.status == 0 and json.loads(done.text.splitlines()[-1]) == ["TOKEN", ["short"], False], done


def test_environments_and_templates(old, tmpdir):
    shown = old("""
        show("python3" in [language["name"] for language in client.get_supported_languages()])
        environment = client.get_environment("python3")["environments"][0]
        show(environment["language"]["name"], environment["machine_type"])
        response = client.get_template(environment["environment_specification_id"], "template", save_tar=True)
        show(response.status_code)
    """)
    assert shown == [True, "python3", "CPU", 200]
    assert tmpdir.join("template", "src", "__ALGO__.py").check()
    assert tmpdir.join("template", "template.tar.gz").check()


def test_command_run(old_algo, tmpdir):
    assert old_algo("run", "demo/Hello", "-d", "HAL 9000").text == "Hello HAL 9000\n"
    assert old_algo("run", "demo/Hello/0.1.0", "-d", "HAL 9000", "--timeout", "60").text == "Hello HAL 9000\n"
    done = old_algo("run", "demo/Hello", "-d", "HAL", "--output", "out.txt")
    assert done.status == 0 and tmpdir.join("out.txt").read() == "Hello HAL"


def test_command_run_with_a_profile(old_algo, server, tmpdir):
    """-t and -j take the key only from the old client's configuration file."""
    profile = '[profiles.default]\napi_key = "%s"\napi_server = "%s"\nca_cert = ""\nbearer_token = ""\n'
    tmpdir.mkdir(".algorithmia").join("config").write(profile % (server.key, server.address))
    assert old_algo("run", "demo/Hello", "-t", "HAL").text == "Hello HAL\n"
    assert old_algo("run", "util/Echo", "-j", '{"a": [1, null]}').text == "{'a': [1, None]}\n"
    tmpdir.join("bytes").write_binary(b"\x00\xff")
    assert old_algo("run", "util/Echo", "-B", "bytes").text == "b'\\x00\\xff'\n"
    failed = old_algo("run", "util/Fail", "-t", "boom")
    assert failed.status == 1 and "AlgorithmException: 'boom'" in failed.stderr


def test_commands_for_data(old_algo, server, tmpdir):
    name = "oldcli%d" % os.getpid()
    home = "data://.my/" + name
    assert old_algo("ls").text.split() == [server.user + "/"]
    assert old_algo("mkdir", home).status == 0
    assert (".my/" + name + "/") in old_algo("ls", "data://.my/").text.split()
    tmpdir.join("a.txt").write("content of a")
    tmpdir.join("b.txt").write("content of b")
    assert old_algo("cp", "./a.txt", "./b.txt", home).status == 0
    assert old_algo("ls", home + "/").text.split() == [".my/%s/a.txt" % name, ".my/%s/b.txt" % name]
    date, time, size, path = old_algo("ls", "-l", home + "/a.txt").text.split()
    assert len(date) == 10 and len(time) == 8 and size == "12" and path == ".my/%s/a.txt" % name
    assert old_algo("cat", home + "/a.txt", home + "/b.txt").text.split("\n")[0].startswith("content of a")
    assert old_algo("cp", home + "/a.txt", home + "/c.txt").status == 0
    assert old_algo("cp", home + "/c.txt", "./got.txt").status == 0
    assert tmpdir.join("got.txt").read() == "content of a"
    assert old_algo("rm", home + "/a.txt").status == 0
    assert "a.txt" not in old_algo("ls", home + "/").text
    assert "not empty" in old_algo("rmdir", home).text
    assert old_algo("rmdir", "-f", home).text == ""
    assert name not in old_algo("ls", "data://.my/").text
