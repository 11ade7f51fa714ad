# -*- coding: utf-8 -*-
"""The request funnel, against a far side that misbehaves."""
import json
import os
import pickle
import socket
import sys
import threading

import pytest
from wire import WireServer, answer, unused_address

import Algorithmia
from Algorithmia import errors
from Algorithmia.client import Client, encode_query

HELLO = {"result": "Hello", "metadata": {"content_type": "text", "duration": 0.1}}
LISTING = {"folders": [{"name": "me"}]}


def busy(**headers):
    lines = ["%s: %s" % item for item in headers.items()]
    return answer({"error": {"message": "busy"}}, "503 Service Unavailable", lines)


def test_a_call_is_one_request_with_the_documented_headers():
    with WireServer(answer(HELLO)) as wire:
        response = Client("simKEY", wire.address).algo("demo/Hello").pipe("HAL 9000")
    assert response.result == "Hello"
    (request,) = wire.requests
    assert (request.method, request.path) == ("POST", "/v1/algo/demo/Hello")
    assert request.headers["authorization"] == "simKEY"
    assert request.headers["content-type"].startswith("text/plain")
    assert request.headers["user-agent"].startswith("algorithmia-python/")
    assert request.body == b"HAL 9000"


def test_bearer_token():
    with WireServer(answer(HELLO)) as wire:
        Client(apiAddress=wire.address, bearerToken="a.b.c").algo("demo/Hello").pipe(1)
    assert wire.requests[0].headers["authorization"] == "Bearer a.b.c"


def test_connections_are_reused():
    with WireServer(answer(LISTING)) as wire:
        client = Client("k", wire.address)
        for _ in range(5):
            client.username()
        assert wire.connections == 1


def test_defect_10_an_idempotent_request_is_repeated_after_a_busy_answer():
    with WireServer(busy(), busy(**{"Retry-After": "0"}), answer(LISTING)) as wire:
        assert Client("k", wire.address).username() == "me"
    assert len(wire.requests) == 3


def test_defect_10_an_idempotent_request_is_repeated_when_the_connection_breaks():
    with WireServer(None, answer(LISTING)) as wire:
        assert Client("k", wire.address).username() == "me"
    assert len(wire.requests) == 2


def test_repeating_ends():
    with WireServer(busy()) as wire:
        with pytest.raises(errors.ApiInternalError):
            Client("k", wire.address, retries=2).username()
    assert len(wire.requests) == 3


@pytest.mark.parametrize("reply", [None, busy(), answer({"error": {"message": "slow down"}}, "429 Too Many Requests")])
def test_defect_09_a_call_that_may_have_run_is_never_sent_twice(reply):
    with WireServer(reply) as wire:
        with pytest.raises(errors.ApiError):
            Client("k", wire.address).algo("demo/Hello").pipe(1)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("method", ["publish", "compile"])
def test_defect_09_publish_and_compile_are_sent_once(method):
    with WireServer(answer({"error": {"message": "no"}}, "500 Oops")) as wire:
        with pytest.raises(errors.ApiInternalError):
            getattr(Client("k", wire.address).algo("a/b"), method)()
    assert len(wire.requests) == 1


def test_a_put_that_can_be_rewound_is_repeated_whole(tmpdir):
    tmpdir.join("f").write("x" * 100000)
    stored = answer({"result": "data://.my/c/f"})
    with WireServer(busy(), stored) as wire:
        Client("k", wire.address).file("data://.my/c/f").putFile(str(tmpdir.join("f")))
    assert [len(request.body) for request in wire.requests] == [100000, 100000]


def test_defect_10_a_dead_peer_is_an_error_not_a_hang():
    with WireServer(lambda connection, request: threading.Event().wait(20)) as wire:
        with pytest.raises(errors.UnreachableError) as caught:
            Client("k", wire.address, timeout=0.2, retries=0).username()
    assert isinstance(caught.value, errors.ApiTimeoutError)
    assert wire.address in str(caught.value)


def test_a_call_waits_for_its_own_limit_not_for_the_clients():
    event = threading.Event()

    def slow(connection, request):
        event.wait(0.6)
        connection.sendall(answer(HELLO))

    with WireServer(slow) as wire:
        assert Client("k", wire.address, timeout=0.2).algo("demo/Hello").pipe("x").result == "Hello"


def test_nobody_there():
    address = unused_address()
    with pytest.raises(errors.UnreachableError) as caught:
        Client("k", address, retries=0).algo("demo/Hello").pipe(1)
    assert str(caught.value).startswith("can't reach %s: connection refused. " % address)
    assert "ALGORITHMIA_API" in str(caught.value)


def test_the_closed_service_gets_its_own_advice():
    from Algorithmia import config, unreachable

    problem = unreachable.from_exception(socket.gaierror(-2, "unknown"), config.DEFAULT_ADDRESS)
    for advice in ("algo auth", "profile 'local'", "ALGORITHMIA_API"):
        assert advice in str(problem)


GARBAGE = [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x01\x02\xff" * 50 + b"\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_an_error(garbage):
    def talk(connection, request):
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_RDWR)

    with WireServer(talk) as wire:
        with pytest.raises(errors.ApiError):
            Client("k", wire.address, retries=0).username()


def test_an_answer_that_is_not_json():
    with WireServer(answer(body=b"<html>hi</html>")) as wire:
        with pytest.raises(errors.ApiInternalError) as caught:
            Client("k", wire.address).algo("demo/Hello").pipe(1)
    assert "<html>" in str(caught.value)


def test_a_cut_answer_is_an_error():
    with WireServer(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", None) as wire:
        def cut(connection, request):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            connection.shutdown(socket.SHUT_RDWR)
        wire.replies = [cut]
        with pytest.raises(errors.UnreachableError):
            Client("k", wire.address, retries=0).algo("demo/Hello").pipe(1)


def test_a_cut_download_leaves_no_file(tmpdir):
    def cut(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Data-Type: file\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1500000)
        connection.shutdown(socket.SHUT_RDWR)

    from Algorithmia import transfer

    with WireServer(cut) as wire:
        with pytest.raises(errors.UnreachableError):
            transfer.download(Client("k", wire.address, retries=0), "data://.my/c/f", str(tmpdir.join("f")))
    assert tmpdir.listdir() == [] or [p.basename for p in tmpdir.listdir()] == [".algorithmia"]


def test_a_redirect_is_not_followed_with_the_key():
    with WireServer(answer({}, "302 Found", ["Location: http://127.0.0.1:1/elsewhere"])) as wire:
        with pytest.raises(errors.BadRequestError) as caught:
            Client("simSECRET", wire.address).username()
    assert "redirects" in str(caught.value) and "simSECRET" not in str(caught.value)


def test_defect_04_the_message_of_a_refused_call_is_kept():
    body = {"error": {"message": "algorithm algo://a/b not found", "code": 1000, "id": "abc"}}
    with WireServer(answer(body, "404 Not Found", ["X-Request-Id: req-1"])) as wire:
        with pytest.raises(errors.AlgorithmException) as caught:
            Client("k", wire.address).algo("a/b").pipe(1)
    assert isinstance(caught.value, errors.NotFoundError)
    assert "algorithm algo://a/b not found" in str(caught.value)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (404, 1000, "req-1")


def test_defect_06_an_asynchronous_answer_is_recognised():
    with WireServer(answer({"async": "void", "request_id": "req-7"})) as wire:
        response = Client("k", wire.address).algo("a/b").pipe(1)
    assert (response.async_protocol, response.request_id) == ("void", "req-7")


def test_defect_07_options_are_not_written_by_calls():
    with WireServer(answer({"async": "void", "request_id": "r"})) as wire:
        algo = Client("k", wire.address).algo("a/b")
        algo.set_options(output=Algorithmia.algorithm.OutputType.void, extra="1")
        before = dict(algo.query_parameters)
        algo.pipe(1)
        assert algo.query_parameters == before and "output" not in before
    query = wire.requests[0].query
    assert "output=void" in query and "extra=1" in query and "stdout=false" in query and "timeout=300" in query


def test_defect_08_update_sends_json():
    with WireServer(answer({"name": "b"})) as wire:
        Client("k", wire.address).algo("a/b").update(details={"label": "L"}, settings={"license": "mit"})
    request = wire.requests[0]
    assert (request.method, request.path) == ("PUT", "/v1/algorithms/a/b")
    assert request.json == {"details": {"label": "L"}, "settings": {"license": "mit"}}


def test_defect_11_an_empty_answer_is_judged_by_its_status():
    with WireServer(answer(status="500 Oops", body=b"")) as wire:
        with pytest.raises(errors.DataApiError):
            Client("k", wire.address).file("data://.my/c/f").put("x")


def test_defect_12_an_empty_answer_to_delete_is_success():
    with WireServer(answer(status="200 OK", body=b"")) as wire:
        assert Client("k", wire.address).file("data://.my/c/f").delete() is True
        assert Client("k", wire.address).deleteHelper("/v1/x") is None


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "500 Oops"])
def test_defect_13_exists_does_not_hide_errors(status):
    with WireServer(answer({"error": {"message": "no"}}, status)) as wire:
        client = Client("k", wire.address, retries=0)
        for thing in (client.file("data://.my/c/f"), client.dir("data://.my/c")):
            with pytest.raises(errors.DataApiError):
                thing.exists()


def test_defect_17_the_default_client_follows_its_settings(monkeypatch):
    monkeypatch.setenv("ALGORITHMIA_API", "http://127.0.0.1:1")
    monkeypatch.setenv("ALGORITHMIA_API_KEY", "simENV")
    first = Algorithmia.getDefaultClient()
    assert Algorithmia.getDefaultClient() is first
    Algorithmia.apiAddress = "http://127.0.0.1:2"
    Algorithmia.apiKey = "simNEW"
    assert Algorithmia.getDefaultClient().apiAddress == "http://127.0.0.1:2"
    assert Algorithmia.algo("a/b").client.apiKey == "simNEW"


def test_defect_20_put_does_not_look_into_the_payload():
    with WireServer(answer({"result": "x"})) as wire:
        Client("k", wire.address).file("data://.my/c/f").put(b"123")
    assert wire.requests[0].headers.get("content-type") != "application/json"


def test_defect_21_listings_without_fraction_and_with_a_stuck_marker():
    page = {"files": [{"filename": "a", "size": 1, "last_modified": "2016-01-06T00:52:34Z"}], "marker": "m"}
    with WireServer(answer(page)) as wire:
        entries = Client("k", wire.address).dir("data://.my/c").list()
        assert next(entries).last_modified.year == 2016
        with pytest.raises(errors.DataApiError):
            list(entries)


def test_defect_22_filters_that_are_false_are_sent():
    with WireServer(answer({"results": []})) as wire:
        Client("k", wire.address).algo("a/b").versions(published=False, callable=False, limit=1)
        Client("k", wire.address).algo("a/b").info()
    assert sorted(wire.requests[0].query.split("&")) == ["callable=false", "limit=1", "published=false"]
    assert wire.requests[1].path == "/v1/algorithms/a/b"


def test_defect_23_a_missing_algorithm_does_not_exist():
    with WireServer(answer({"error": {"message": "not found"}}, "404 Not Found")) as wire:
        assert Client("k", wire.address).algo("a/b").exists() is False


def test_defects_28_and_29_secrets_are_not_printed_and_go_to_the_default_provider(capsys):
    replies = [
        answer([{"id": "one", "isDefault": False}, {"id": "two", "isDefault": True}]),
        answer({"id": "algo-id"}),
        answer({"short_name": "s"}),
    ]
    with WireServer(*replies) as wire:
        Client("k", wire.address).algo("a/b").set_secret("s", "KEY", "hunter2")
    assert wire.requests[2].json["provider_id"] == "two"
    assert wire.requests[2].path == "/v1/algorithms/algo-id/secrets"
    out, err = capsys.readouterr()
    assert out == "" and err == ""


def test_defect_30_create_org_leaves_the_callers_dict_and_names_unknown_types():
    types = answer([{"id": "t-1", "name": "basic"}])
    with WireServer(types, answer({"org_name": "o"}), types) as wire:
        given = {"org_name": "o", "type_id": "basic"}
        client = Client("k", wire.address)
        client.create_org(given)
        assert given == {"org_name": "o", "type_id": "basic"}
        assert wire.requests[1].json["type_id"] == "t-1"
        with pytest.raises(errors.NotFoundError) as caught:
            client.create_org({"type_id": "nope"})
        assert "basic" in str(caught.value)


def test_defect_31_getters_raise():
    with WireServer(answer({"error": {"message": "nope"}}, "404 Not Found")) as wire:
        client = Client("k", wire.address)
        for get in (client.get_org, client.get_environment, client.get_organization_errors, client.get_user_errors):
            with pytest.raises(errors.NotFoundError):
                get("x")
        with pytest.raises(errors.NotFoundError):
            client.get_supported_languages()


def test_defect_32_insights_carry_credentials_and_raise():
    with WireServer(answer({}), answer({"error": {"message": "no"}}, "403 Forbidden")) as wire:
        client = Client("simKEY", wire.address)
        client.report_insights({"cats": 3})
        with pytest.raises(errors.PermissionDeniedError):
            client.report_insights([{"insight_key": "k", "insight_value": 1}])
    assert wire.requests[0].headers["authorization"] == "simKEY"
    assert wire.requests[0].json == [{"insight_key": "cats", "insight_value": 3}]


def test_results_of_management_calls_by_item_and_by_attribute():
    with WireServer(answer({"results": [{"version_info": {"semantic_version": "0.1.0"}}]})) as wire:
        versions = Client("k", wire.address).algo("a/b").versions(1)
    assert versions.results[0].version_info.semantic_version == "0.1.0"
    assert versions["results"][0]["version_info"]["semantic_version"] == "0.1.0"


def test_the_session_once_taken_carries_every_request():
    with WireServer(answer(HELLO), answer({"error": {"message": "no"}}, "403 Forbidden")) as wire:
        client = Client("simKEY", wire.address)
        client.requestSession.headers["X-Mine"] = "yes"
        assert client.algo("a/b").pipe(1).result == "Hello"
        with pytest.raises(errors.PermissionDeniedError):
            client.file("data://.my/c/f").getBytes()
    assert wire.requests[0].headers["x-mine"] == "yes"
    assert wire.requests[0].headers["authorization"] == "simKEY"


def test_helpers_return_a_requests_response():
    with WireServer(answer({"error": {"message": "x"}}, "404 Not Found"), answer({"a": 1})) as wire:
        client = Client("k", wire.address)
        assert client.getHelper("/v1/x").status_code == 404
        response = client.getHelper("/v1/x", a="b")
        assert response.json() == {"a": 1} and response.status_code == 200
    assert wire.requests[1].query == "a=b"


def test_environment_proxies(monkeypatch):
    with WireServer(answer(LISTING)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address.replace("http://", "http://user:pa%20ss@"))
        assert Client("k", "http://api.nowhere.example").username() == "me"
        assert proxy.requests[0].target == "http://api.nowhere.example/v1/data/"
        assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")


def test_no_proxy_to_this_machine(monkeypatch):
    with WireServer(answer(LISTING)) as wire:
        monkeypatch.setenv("http_proxy", unused_address())
        assert Client("k", wire.address).username() == "me"
        assert Client("k", wire.address.replace("127.0.0.1", "localhost")).username() == "me"


def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    proxy = unused_address()
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(errors.UnreachableError) as caught:
        Client("k", "http://api.nowhere.example", retries=0).username()
    assert "proxy" in str(caught.value) and "no_proxy" in str(caught.value)


def test_no_proxy(monkeypatch):
    with WireServer(answer(LISTING)) as wire:
        monkeypatch.setenv("http_proxy", unused_address())
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert Client("k", wire.address).username() == "me"


def test_tls_with_a_platform_that_has_none():
    import ssl

    from Algorithmia import unreachable

    problem = unreachable.from_exception(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "https://h")
    assert isinstance(problem, unreachable.CertificateError) and "begin with http://" in str(problem)


def test_one_client_in_many_threads():
    def echo(connection, request):
        metadata = {"content_type": "text", "duration": 0}
        connection.sendall(answer({"result": request.body.decode("utf-8"), "metadata": metadata}))

    wrong = []
    with WireServer(echo) as wire:
        algo = Client("k", wire.address).algo("a/b")

        def work(name):
            for number in range(30):
                text = "%s-%d" % (name, number)
                if algo.pipe(text).result != text:
                    wrong.append(text)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_client_is_usable_after_a_fork():
    with WireServer(answer(LISTING)) as wire:
        client = Client("k", wire.address)
        client.username()
        pid = os.fork()
        if not pid:
            os._exit(0 if client.username() == "me" else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert client.username() == "me"


def test_a_client_can_be_pickled():
    client = Client("k", "http://127.0.0.1:1")
    again = pickle.loads(pickle.dumps(client, 2))
    assert (again.apiKey, again.apiAddress) == ("k", "http://127.0.0.1:1")


def test_keys_that_a_header_cannot_carry():
    with pytest.raises(errors.ConfigError) as caught:
        Client(u"simKÖY", "http://127.0.0.1:1")
    assert u"KÖY" not in caught.value.message
    assert Client("simKEY\n", "http://127.0.0.1:1").apiKey == "simKEY"


def test_a_ca_certificate_that_is_none(tmpdir):
    tmpdir.join("ca.pem").write("not a certificate")
    for path in (str(tmpdir.join("ca.pem")), "/nonexistent.pem"):
        with pytest.raises(errors.ConfigError) as caught:
            Client("k", "https://127.0.0.1:1", path).username()
        assert path in str(caught.value)


def test_queries():
    assert encode_query({"a": None}) == ""
    assert encode_query({"flag": True}) == "flag=true"
    assert encode_query(u"a=%20b") == "a=%20b"
    assert encode_query({"name": u"a b&c"}) == "name=a+b%26c"


@pytest.mark.parametrize("value, body, content_type", [
    (u"ünï", u"ünï".encode("utf-8"), "text/plain"),
    (bytearray(b"\x00\x01"), b"\x00\x01", "application/octet-stream"),
    (None, b"null", "application/json"),
    ([1, {"a": None}], None, "application/json"),
    (12345678901234567890123, b"12345678901234567890123", "application/json"),
])
def test_input_types(value, body, content_type):
    with WireServer(answer(HELLO)) as wire:
        Client("k", wire.address).algo("a/b").pipe(value)
    request = wire.requests[0]
    assert request.headers["content-type"].startswith(content_type)
    assert request.body == (body if body is not None else json.dumps(value).encode("utf-8"))


@pytest.mark.skipif(sys.version_info < (3,), reason="on 2.7 bytes are the native text type")
def test_bytes_are_binary():
    with WireServer(answer(HELLO)) as wire:
        Client("k", wire.address).algo("a/b").pipe(b"\xff")
    assert wire.requests[0].headers["content-type"] == "application/octet-stream"


def test_input_that_cannot_be_sent():
    with pytest.raises(TypeError) as caught:
        Client("k", "http://127.0.0.1:1").algo("a/b").pipe(object())
    assert "object" in str(caught.value)


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
@pytest.mark.parametrize("ask", [
    lambda client: client.algo("demo/Hello").pipe(1),
    lambda client: list(client.dir("data://.my/c").list()),
    lambda client: client.getJsonHelper("/v1/x"),
])
def test_an_answer_nested_without_end_is_an_ordinary_error(ask, status):
    with WireServer(answer(body=b'{"error":' + b"[" * 500000, status=status)) as wire:
        with pytest.raises(errors.ApiError):
            ask(Client("k", wire.address, retries=0))
