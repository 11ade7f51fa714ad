# -*- coding: utf-8 -*-
"""`algo run`: inputs, results, errors and what is printed where."""
import json

import pytest
from wire import WireServer, answer, unused_address

from Algorithmia._compat import native
from Algorithmia.cli.run import detect

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


def result(value, kind, **metadata):
    return answer({"result": value, "metadata": dict({"content_type": kind, "duration": 0.25}, **metadata)})


@pytest.fixture
def call(cli, profile):
    """``call(reply, *words)`` runs ``algo run`` against a platform that answers `reply`; adds the ``.request``."""

    def run(reply, *words, **options):
        with WireServer(reply) as platform:
            profile(platform.address)
            ran = cli("run", "demo/Hello", *words, **options)
        ran.request = platform.requests[-1] if platform.requests else None
        return ran

    return run


# -- inputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, content_type",
    [
        (b"HAL 9000", "text"), (b"", "text"), (b"\xc3\xbc", "text"), (b"NaN", "text"), (b"-Infinity", "text"),
        (b"'a'", "text"), (b"{a:1}", "text"), (b"[1,2", "text"), (b"1 2", "text"), (b"[" * 100000, "text"),
        (b"19635", "json"), (b'"quoted"', "json"), (b"null", "json"), (b' {"a": [1, 2.5e3]}\n', "json"),
        (b"-1", "json"), (b"9" * 5000, "json"),
        (PNG, "binary"), (b"\xff", "binary"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:12]),
)  # fmt: skip
def test_detection(data, content_type):
    expected = {"text": "text/plain; charset=utf-8", "json": "application/json", "binary": "application/octet-stream"}
    assert detect(data) == expected[content_type]


@pytest.mark.parametrize(
    "option, value, content_type",
    [
        ("-d", "HAL 9000", "text/plain"), ("--data", "[1]", "application/json"), ("-t", "[1]", "text/plain"),
        ("--text", "x", "text/plain"), ("-j", '{"a":  1}', "application/json"), ("--json", "3", "application/json"),
        ("-b", "[1]", "application/octet-stream"), ("--binary", "x", "application/octet-stream"),
    ],
)  # fmt: skip
def test_typed_options(call, tmpdir, option, value, content_type):
    ran = call(result("ok", "text"), option, value)
    assert ran.status == 0
    assert ran.request.headers["content-type"].startswith(content_type) and ran.request.body == value.encode()
    upper = "-" + option[1].upper() if len(option) == 2 else option + "-file"
    tmpdir.join("input").write(value)
    from_file = call(result("ok", "text"), upper, tmpdir.join("input"))
    piped = call(result("ok", "text"), upper, "-", stdin=value.encode())
    for other in (from_file, piped):
        assert (other.request.headers["content-type"], other.request.body) == (
            ran.request.headers["content-type"], ran.request.body)


def test_data_of_a_single_dash_is_data(call):
    assert call(result("ok", "text"), "-d", "-").request.body == b"-"


def test_non_ascii_text(call):
    assert call(result("ok", "text"), "-d", u"\u00fcn\u00ef").request.body == u"\u00fcn\u00ef".encode("utf-8")


@pytest.mark.parametrize("words", [(), ("-d", "1", "-t", "2"), ("-d", "1", "-d", "2"), ("-d", "1", "-B", "-")])
def test_not_exactly_one_input(call, words):
    ran = call(result("ok", "text"), *words)
    assert (ran.status, ran.out, ran.request) == (2, "", None)
    assert ran.err.startswith("usage: algo run") and "exactly one of -d" in ran.err


def test_json_that_is_none(call):
    ran = call(result("ok", "text"), "-j", "{a:1}")
    assert ran.status == 2 and ran.request is None and "not JSON" in ran.err
    assert "double quotes" not in ran.err
    assert "double quotes" in call(result("ok", "text"), "-j", "{'a': 1}").err


def test_text_that_is_none(call, tmpdir):
    tmpdir.join("b").write_binary(PNG)
    ran = call(result("ok", "text"), "-T", tmpdir.join("b"))
    assert ran.status == 2 and ran.request is None and "UTF-8" in ran.err


def test_input_file_that_is_missing(call, tmpdir):
    ran = call(result("ok", "text"), "-D", tmpdir.join("no"))
    assert ran.status == 4 and ran.request is None and "no such file" in ran.err


@pytest.mark.parametrize("ref", ["Hello", "a/b/c/d", "../x/y"])
def test_references_that_are_none(cli, profile, ref):
    profile(unused_address())
    ran = cli("run", ref, "-d", "x")
    assert ran.status == 2 and "OWNER/NAME" in ran.err


def test_options_of_the_call(call):
    assert "timeout=300" in call(result("ok", "text"), "-d", "x").request.query
    query = call(result("ok", "text"), "-d", "x", "--timeout", "60", "--debug").request.query
    assert "timeout=60" in query.split("&") and "stdout=true" in query
    assert "timeout=0.5" in call(result("ok", "text"), "-d", "x", "--timeout", "0.5").request.query
    assert "stdout=false" in call(result("ok", "text"), "-d", "x", "--debug", "--no-debug").request.query


# -- results ------------------------------------------------------------------------------------------------------


def test_text(call):
    assert call(result(u"Hello \u00fc", "text"), "-d", "x").stdout == u"Hello \u00fc\n".encode("utf-8")
    assert call(result("a\n", "text"), "-d", "x").out == "a\n\n"


def test_json_is_compact_in_a_pipe_and_indented_on_a_terminal(call):
    value = {"b": [3, 5], "a": u"\u00fc"}
    body = u'{"result":{"b":[3,5],"a":"\u00fc"},"metadata":{"content_type":"json","duration":1}}'.encode("utf-8")
    assert call(answer(body=body), "-d", "x").out == u'{"b":[3,5],"a":"\u00fc"}\n'
    shown = call(answer(body=body), "-d", "x", terminal=True).out
    assert json.loads(shown) == value and shown.startswith('{\n  "b": [\n')


def test_json_string_stays_json(call):
    assert call(result("a", "json"), "-d", "x").out == '"a"\n'


def test_list_as_documented(call):
    assert call(result([3, 5, 7, 11, 17], "json"), "-d", "19635").out == "[3,5,7,11,17]\n"


def test_binary(call):
    reply = result("iVBORw0KGgoA/w==", "binary")
    assert call(reply, "-d", "x").stdout == PNG
    refused = call(reply, "-d", "x", terminal=True)
    assert refused.status == 2 and refused.stdout == b"" and "--output" in refused.err
    assert call(reply, "-d", "x", "--force", terminal=True).stdout == PNG


def test_void(call):
    assert call(result(None, "void"), "-d", "x").out == ""


@pytest.mark.parametrize(
    "value, kind, content",
    [("Hello", "text", b"Hello"), ({"a": 1}, "json", b'{"a":1}\n'), ("iVBORw0KGgoA/w==", "binary", PNG)],
)
def test_output_file(call, tmpdir, value, kind, content):
    ran = call(result(value, kind), "-d", "x", "-o", tmpdir.join("out"), terminal=True)
    assert (ran.status, ran.out) == (0, "")
    assert tmpdir.join("out").read_binary() == content
    assert [path.basename for path in tmpdir.listdir() if "out" in path.basename] == ["out"]


def test_output_is_checked_before_the_call(call, tmpdir):
    for target, status in ((tmpdir, 2), (tmpdir.join("no", "out"), 4)):
        ran = call(result("x", "text"), "-d", "x", "-o", target)
        assert ran.status == status and ran.request is None


def test_output_stays_when_the_call_fails(call, tmpdir):
    tmpdir.join("out").write("before")
    ran = call(answer({"error": {"message": "boom"}, "metadata": {"duration": 1}}), "-d", "x", "-o", tmpdir.join("out"))
    assert ran.status == 1 and tmpdir.join("out").read() == "before"


def test_output_to_a_device(call):
    assert call(result("x", "text"), "-d", "x", "-o", "/dev/null").status == 0
    assert call(result("x", "text"), "-d", "x", "-o", "-").out == "x\n"


def test_notices_go_to_standard_error(call):
    reply = result("ok", "text", alerts=["slow today"], stdout="loading\n")
    ran = call(reply, "-d", "x")
    assert ran.out == "ok\n" and ran.err == "slow today\n"
    assert call(reply, "-d", "x", terminal=True).err == "slow today\nCompleted in 0.2 seconds\n"
    assert call(reply, "-d", "x", "--debug").err.startswith("loading\n")
    for quiet in ("-s", "--silence", "-q"):
        ran = call(reply, "-d", "x", quiet, terminal=True)
        assert (ran.out, ran.err) == ("ok\n", "")
    assert call(reply, "-d", "x", "-s", "--debug").err == "loading\n"


def test_response(call):
    body = json.dumps({"result": 1, "metadata": {"content_type": "json", "duration": 0}}).encode()
    assert call(answer(body=body, headers=["X-A: b"]), "-d", "x", "--response-body").stdout == body + b"\n"
    lines = call(answer(body=body, headers=["X-A: b"]), "-d", "x", "--response").out.split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK" and "X-A: b" in lines and lines[-1] == body.decode() + "\n"


def test_response_of_an_error(call):
    reply = answer({"error": {"message": "not found"}}, status="404 Not Found")
    ran = call(reply, "-d", "x", "--response-body")
    assert ran.status == 4 and ran.json == {"error": {"message": "not found"}} and "API error: not found" in ran.err
    ran = call(answer({"error": {"message": "boom"}}), "-d", "x", "--response-body")
    assert ran.status == 1 and ran.json["error"]["message"] == "boom" and "API error: boom" in ran.err


# -- errors -------------------------------------------------------------------------------------------------------


def test_an_algorithm_that_fails(call):
    reply = answer({"error": {"message": "boom", "stacktrace": "Traceback\n  line 1", "error_type": "AlgorithmError"},
                    "metadata": {"duration": 0.1, "stdout": "before it"}})
    ran = call(reply, "-d", "x")
    assert (ran.status, ran.out, ran.err) == (1, "", "API error: boom\nTraceback\n  line 1\n")
    assert call(reply, "-d", "x", "--debug").err.startswith("before it\nAPI error: boom\n")


@pytest.mark.parametrize(
    "status, expected",
    [("400 Bad Request", 1), ("401 Unauthorized", 3), ("403 Forbidden", 3), ("404 Not Found", 4), ("409 Conflict", 1),
     ("413 Too Large", 1), ("429 Too Many Requests", 1), ("500 Oops", 1), ("504 Gateway Timeout", 5)],
)  # fmt: skip
def test_refusals(call, status, expected):
    ran = call(answer({"error": {"message": "because"}}, status=status, headers=["Retry-After: 0"]), "-d", "x")
    assert (ran.status, ran.out) == (expected, "")
    assert ran.err.startswith("API error: because") and "Traceback" not in ran.err


def test_time_limit_of_the_algorithm(call):
    reply = answer({"error": {"message": "too slow", "error_type": "TimeoutError"}, "metadata": {"duration": 1}})
    assert call(reply, "-d", "x").status == 5


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"result": 1', b""])
def test_garbage(call, body):
    ran = call(answer(body=body), "-d", "x")
    assert ran.status == 1 and "JSON" in ran.err and "Traceback" not in ran.err


def test_nobody_there(cli, profile):
    profile(unused_address())
    ran = cli("run", "demo/Hello", "-d", "x")
    assert ran.status == 6 and ran.err.startswith("algo: can't reach")


def test_closed_service_says_what_to_do(cli, monkeypatch):
    monkeypatch.setenv("https_proxy", unused_address())
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simK")
    ran = cli("run", "demo/Hello", "-d", "x")
    assert ran.status == 6 and "profile 'local'" in ran.err


# -- against the platform -----------------------------------------------------------------------------------------


def test_hello(algo):
    data = ("-d", "HAL 9000")
    for words in (data + ("demo/Hello",), ("demo/Hello",) + data, data + ("demo/Hello/",)):
        ran = algo("run", *words)
        assert (ran.status, ran.text) == (0, "Hello HAL 9000\n"), ran


def test_hello_with_the_documented_options(algo, tmpdir):
    ran = algo("run", "demo/Hello", "-d", "HAL 9000", "--debug", "--timeout", "60", "--output", "results.txt")
    assert (ran.status, ran.stdout) == (0, b"")
    assert tmpdir.join("results.txt").read() == "Hello HAL 9000"


def test_values_come_back(algo):
    ran = algo("run", "util/Echo", "-d", native(u'{"a": ["\u00fc", 1.5, null]}'))
    assert ran.json == {"a": [u"\u00fc", 1.5, None]}
    everything = bytes(bytearray(range(256)))
    assert algo("run", "util/Echo", "-D", "-", stdin=everything).stdout == everything


def test_unknown_algorithm(algo):
    ran = algo("run", "demo/Nope", "-d", "x")
    assert ran.status == 4 and ran.stdout == b"" and "demo/Nope" in ran.stderr and ran.stderr.startswith("API error: ")


def test_unknown_key(algo, server):
    ran = algo("run", "demo/Hello", "-d", "x", env={"ALGORITHMIA_API": server.address, "ALGORITHMIA_API_KEY": "simNO"},
               configured=False)
    assert ran.status == 3 and "algo auth" in ran.stderr


def test_too_large(algo):
    ran = algo("run", "util/Echo", "-B", "-", stdin=b"x" * (11 * 1024 * 1024))
    assert ran.status == 1 and "Traceback" not in ran.stderr


def test_how_long_it_took(call):
    for seconds, said in ((0.0002, "0.0002"), (0.06, "0.0600"), (2.345, "2.3")):
        reply = answer({"result": "x", "metadata": {"content_type": "text", "duration": seconds}})
        assert call(reply, "-d", "x", terminal=True).err == "Completed in %s seconds\n" % said
