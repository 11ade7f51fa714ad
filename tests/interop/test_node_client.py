"""The published Node client, in processes of its own against our platform."""
import itertools
import os
import shutil
import textwrap

import pytest
from published import install_with, installed, minimal_environment, run

VERSION = "0.3.10"
_names = itertools.count(1)

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed on this machine"
)

# The client calls back; a script awaits ask() and pipe() instead, and hands over what it found with show().
PRELUDE = """\
const algorithmia = require("algorithmia");
const [key, address, name] = process.argv.slice(1);
const client = algorithmia.client(key, address);
const home = client.dir("data://.my/" + name);
const shown = [];
const show = (...values) => shown.push(...values);
const ask = (object, method, ...values) => new Promise(done => object[method](...values, (...answer) => done(answer)));
const request = (...values) => ask(client, "req", ...values);
const piped = promise => new Promise(done => promise.then(done));
const pipe = (reference, input) => piped(client.algo(reference).pipe(input));
const list = directory => new Promise((done, failed) => {
    const paths = [];
    directory.forEach((error, item) => paths.push(item.data_path)).then(() => done(paths));
});
const raised = response => { try { response.get(); } catch (error) { return error; } };

(async () => {
"""
END = """
    console.log(JSON.stringify(shown));
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="session")
def prefix(tmpdir_factory):
    """The directory whose node_modules has the published client."""

    def install(directory):
        install_with("npm", "install", "--prefix", directory, "--no-audit", "--no-fund", "algorithmia@" + VERSION)

    return installed(tmpdir_factory, "node-algorithmia-" + VERSION, install)


@pytest.fixture
def node(prefix, server, tmpdir):
    """A function that runs a script in node and returns what it showed.

    `client`, `key`, `address`, and `home`, a directory called `name` that no other test uses, are there.
    """
    name = "node%d_%d" % (os.getpid(), next(_names))

    def run_script(script, **variables):
        source = PRELUDE + textwrap.dedent(script) + END
        environment = minimal_environment(tmpdir, NODE_PATH=os.path.join(prefix, "node_modules"), **variables)
        done = run(["node", "-e", source, server.key, server.address, name], environment, tmpdir)
        assert done.status == 0, done
        return done.json

    yield run_script
    left = server.client().dir("data://.my/" + name)
    if left.exists():
        left.delete(force=True)


def test_it_is_the_published_client(node, prefix):
    shown = node('show(require.resolve("algorithmia"), require("algorithmia/package.json").version)')
    assert os.path.realpath(shown[0]).startswith(os.path.realpath(prefix)) and shown[1] == VERSION


@pytest.mark.parametrize(
    "reference",
    [
        "demo/Hello",
        "demo/Hello/",
        "/demo/Hello/",
        "algo://demo/Hello",
        "algo://demo/Hello/",
        "algo://demo/Hello/0.1.0",
        "algo://demo/Hello/0.1.*",
        "algo://demo/Hello?timeout=10",
        "algo://demo/Hello/0.1.0?timeout=10&stdout=true",
    ],
)
def test_forms_of_a_reference(node, reference):
    shown = node("""
        const response = await pipe("%s", "HAL 9000");
        show(response.get(), response.status, response.metadata.content_type, response.metadata.duration >= 0);
    """ % reference)
    assert shown == ["Hello HAL 9000", 200, "text", True]


def test_text_json_binary(node):
    shown = node("""
        for (const value of ["h\\u00e4llo \\u2603", ["a", 1, 2.5, null, true, {k: []}], {a: {b: 1}}, 7, null]) {
            const response = await pipe("algo://util/Echo/", value);
            show(response.get(), response.metadata.content_type);
        }
        const bytes = Buffer.from(Array.from(Array(256).keys()));
        const response = await pipe("algo://util/Echo/", bytes);
        show(response.metadata.content_type, response.get().equals(bytes));
        show((await piped(client.algo("demo/Hello").pipeJson('"JSON text"'))).get());
    """)
    assert shown[:4] == [u"h\u00e4llo \u2603", "text", ["a", 1, 2.5, None, True, {"k": []}], "json"]
    assert shown[4:10] == [{"a": {"b": 1}}, "json", 7, "json", None, "json"]
    assert shown[10:] == ["binary", True, "Hello JSON text"]


def test_errors(node):
    shown = node("""
        const failed = await pipe("algo://util/Fail", {message: "boom", error_type: "UnsupportedError"});
        show(raised(failed), failed.status, failed.error.error_type, typeof failed.error.stacktrace);
        const unknown = await pipe("algo://demo/NoSuchAlgo/", "x");
        show(raised(unknown), unknown.status);
        const slow = await pipe("algo://util/Sleep?timeout=1", 30);
        show(raised(slow), slow.status);
        const stranger = algorithmia.client("simWRONGWRONGWRONGWRONGWRONG", address);
        const refused = await piped(stranger.algo("demo/Hello").pipe("x"));
        show(raised(refused), refused.status);
    """)
    assert shown[:4] == ["boom", 200, "UnsupportedError", "string"]
    assert shown[4:6] == ["algorithm algo://demo/NoSuchAlgo/ not found", 404]
    assert "timed-out" in shown[6] and shown[7] == 200
    assert "API key" in shown[8] and shown[9] == 401


def test_bodies_go_in_chunks(node):
    """The client never announces the length of a body; what it sends must arrive all the same."""
    shown = node("""
        const http = require("http"), original = http.request;
        let sent;
        http.request = (...values) => (sent = original(...values));
        await ask(home, "create");
        show(sent.chunkedEncoding, sent.getHeader("content-length") === undefined);
        const big = require("crypto").randomBytes(3000000);
        const response = await pipe("algo://util/Echo", big);
        show(sent.chunkedEncoding, response.get().equals(big));
        await ask(home.file("big"), "put", big);
        show(sent.chunkedEncoding);
        const [error, content] = await ask(home.file("big"), "get");
        show(error, content.equals(big));
    """)
    assert shown == [True, True, True, True, True, None, True]


def test_files(node):
    shown = node("""
        await ask(home, "create");
        const text = home.file("text");
        show(...await ask(text, "exists").then(answer => answer.slice(0, 2)));
        show(...await ask(text, "putString", "h\\u00e4llo \\u2603"));
        show(...await ask(text, "exists"), ...await ask(text, "getString"));
        const json = client.file("data://.my/" + name + "/numbers.json");
        await ask(json, "putJson", JSON.stringify({a: [1, null, "\\u00fc"]}));
        show(...await ask(json, "getJson"));
        const binary = home.file("binary");
        await ask(binary, "put", Buffer.from([0, 255, 10]));
        const [error, content] = await ask(binary, "get");
        show(error, Array.from(content));
        show(...await ask(text, "delete"), (await ask(text, "exists"))[0]);
        const [gone] = await ask(text, "get");
        show(gone.message);
        show((await ask(text, "delete"))[1], (await ask(text, "getString"))[1]);
    """)
    assert shown[:2] == [False, 404]
    assert shown[2]["result"].startswith("data://.my/node") and shown[2]["result"].endswith("/text") and shown[3] == 200
    assert shown[4:7] == [True, u"h\u00e4llo \u2603", 200]
    assert shown[7:9] == [{"a": [1, None, u"\u00fc"]}, 200]
    assert shown[9:11] == [None, [0, 255, 10]]
    assert shown[11:14] == [{"result": {"deleted": 1}}, 200, False]
    assert "not found" in shown[14] and shown[15:] == [404, 404]


def test_text_that_others_put_comes_as_text(node, server):
    """`getString` of this client works only on an answer of type text/plain or JSON."""
    shown = node('await ask(home, "create"); show(name)')
    home = server.client().dir("data://.my/" + shown[0])
    home.file("by_the_sdk").put(u"h\u00e4llo")
    home.file("notes.txt").put(b"bytes")
    shown = node("""
        show((await ask(home.file("by_the_sdk"), "getString"))[0], (await ask(home.file("notes.txt"), "getString"))[0]);
    """)
    assert shown == [u"h\u00e4llo", "bytes"]


def test_directories(node, tmpdir):
    tmpdir.join("local.txt").write("from a local file")
    shown = node("""
        show((await ask(home, "exists"))[0], (await ask(home, "create"))[0].result === "data://.my/" + name);
        show((await ask(home, "exists"))[0], (await ask(home, "create"))[1] >= 400, await list(home));
        await ask(home, "putFile", "local.txt");
        await ask(home.file("second"), "putString", "2");
        show((await list(home)).map(path => path.replace(name, "NAME")));
        show((await ask(home.file("local.txt"), "getString"))[0]);
        show((await list(client.dir("data://.my"))).includes(".my/" + name));
        const [kept, status] = await ask(home, "delete", false);
        show(kept.error.message.includes("force=true"), status >= 400 && status < 500);
        show(...await ask(home, "delete", true), (await ask(home, "exists"))[0]);
        show((await ask(home, "delete", false))[1]);
    """)
    assert shown[:5] == [False, True, True, True, []]
    assert shown[5] == [".my/NAME/local.txt", ".my/NAME/second"]
    assert shown[6:10] == ["from a local file", True, True, True]
    assert shown[10:] == [{"result": {"deleted": 2}}, 200, False, 404]


def test_a_listing_of_several_pages(node):
    shown = node("""
        await ask(home, "create");
        const names = Array.from(Array(1100).keys()).map(number => "file" + String(number).padStart(4, "0"));
        for (let start = 0; start < names.length; start += 20)
            await Promise.all(names.slice(start, start + 20).map(item => ask(home.file(item), "putString", item)));
        const listed = (await list(home)).sort();
        show(listed.length, listed.every((path, index) => path === ".my/" + name + "/" + names[index]));
        show((await ask(home, "delete", true))[0]);
    """)
    assert shown == [1100, True, {"result": {"deleted": 1100}}]


def test_permissions(node, server, new_account):
    """This release has no method for them; its request function reaches them."""
    shown = node("""
        const json = {"Content-Type": "application/json"};
        const url = "/v1/data/.my/" + name;
        await request("/v1/data/.my", "POST", JSON.stringify({name: name, acl: {read: []}}), json);
        show((await request(url + "?acl=true", "GET", "", {}))[0].acl);
        show((await request(url, "PATCH", JSON.stringify({acl: {read: ["user://*"]}}), json))[1]);
        show((await request(url + "?acl=true", "GET", "", {}))[0].acl, name);
        await ask(home.file("f"), "putString", "for all");
    """)
    assert shown[:3] == [{"read": []}, 200, {"read": ["user://*"]}]
    shown = node("""
        const other = algorithmia.client("%s", address);
        const item = other.file("data://%s/%s/f");
        show((await ask(item, "getString"))[0], (await ask(item, "putString", "no"))[1]);
    """ % (new_account().key, server.user, shown[3]))
    assert shown == ["for all", 403]


def test_managing_an_algorithm(node, server):
    """This release has no methods for it; its request function sends what those of the next one do."""
    shown = node("""
        const json = {"Content-Type": "application/json"};
        const path = "/v1/algorithms/" + user;
        const settings = {language: "python3-1", environment: "cpu", source_visibility: "closed", license: "apl",
                          network_access: "full", pipeline_enabled: true};
        const made = await request(path, "POST", JSON.stringify({name, details: {label: name}, settings}), json);
        show(made[1], made[0].name === name);
        const compiled = (await request(path + "/" + name + "/compile", "POST", "{}", json))[0];
        show(compiled.compilation.successful);
        const published = await request(path + "/" + name + "/version", "POST",
            JSON.stringify({version_info: {version_type: "minor", sample_input: '"n"'}}), json);
        show(published[1], published[0].version_info.semantic_version, published[0].version_info.sample_output);
        const listed = (await request(path + "/" + name + "/versions?limit=1", "GET", "", {}))[0];
        show(listed.results.length, listed.results[0].version_info.git_hash === compiled.version_info.git_hash);
        show((await pipe(user + "/" + name + "/0.1.0", "node")).get());
        const taken = await request(path, "POST", JSON.stringify({name, details: {label: name}, settings}), json);
        show(taken[1], taken[0].error.code);
    """.replace("user", '"%s"' % server.user))
    assert shown == [201, True, True, 200, "0.1.0", '"hello n"', 1, True, "hello node", 409, 1002]


def test_key_and_address_from_the_environment(node, server):
    """With `Simple ` in front of the key, as some people's settings have it."""
    shown = node(
        'show((await piped(algorithmia.algo("algo://demo/Hello/").pipe("x"))).get());',
        ALGORITHMIA_API_KEY="Simple " + server.key,
        ALGORITHMIA_API=server.address,
    )
    assert shown == ["Hello x"]
