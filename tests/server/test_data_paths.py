"""Paths of data requests: every form that a client sends, and everything that must be refused."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from Algorithmia.server.errors import ApiProblem, BadRequest
from Algorithmia.server.services.data_paths import ALGO, HOSTED, SESSION, Kind, Target, parse, parse_connector


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"", Target(Kind.ROOT, "data://")),
        (b"/", Target(Kind.ROOT, "data://")),
        (b"data://", Target(Kind.ROOT, "data://")),
        (b".my", Target(Kind.ACCOUNT, "data://.my")),
        (b".my/", Target(Kind.ACCOUNT, "data://.my")),
        (b"ada", Target(Kind.ACCOUNT, "data://ada", HOSTED, "ada")),
        (b".my/c", Target(Kind.COLLECTION, "data://.my/c", HOSTED, None, "c")),
        (b".my/c/", Target(Kind.COLLECTION, "data://.my/c", HOSTED, None, "c")),
        (b"/.my/c/f", Target(Kind.FILE, "data://.my/c/f", HOSTED, None, "c", "f")),
        (b"ada/c/f%23%3F%25", Target(Kind.FILE, "data://ada/c/f#?%", HOSTED, "ada", "c", "f#?%")),
        (b".my%2Fc%2Ff", Target(Kind.FILE, "data://.my/c/f", HOSTED, None, "c", "f")),
        (b".my%2fc%2fa+b%2Bc", Target(Kind.FILE, "data://.my/c/a b+c", HOSTED, None, "c", "a b+c")),
        (b".my/c/a+b", Target(Kind.FILE, "data://.my/c/a+b", HOSTED, None, "c", "a+b")),
        (b".my/c/a%252Fb", Target(Kind.FILE, "data://.my/c/a%2Fb", HOSTED, None, "c", "a%2Fb")),
        (b".my/c/100%", Target(Kind.FILE, "data://.my/c/100%", HOSTED, None, "c", "100%")),
        (b".my/c/%E2%82%AC", Target(Kind.FILE, "data://.my/c/€", HOSTED, None, "c", "€")),
        (b"data://.my/c/f", Target(Kind.FILE, "data://.my/c/f", HOSTED, None, "c", "f")),
        (b"data%3A%2F%2F.my%2Fc%2Ff", Target(Kind.FILE, "data://.my/c/f", HOSTED, None, "c", "f")),
        (b"DATA:///.my/c", Target(Kind.COLLECTION, "data://.my/c", HOSTED, None, "c")),
        (b".my/c/f/", Target(Kind.FOLDER, "data://.my/c/f", HOSTED, None, "c", folder="f")),
        (b".my/c/d/f", Target(Kind.FILE, "data://.my/c/d/f", HOSTED, None, "c", "d/f")),
        (b".my%2Fc%2Fd%2Ff%2F", Target(Kind.FOLDER, "data://.my/c/d/f", HOSTED, None, "c", folder="d/f")),
        (b".session/d/f", Target(Kind.FILE, "data://.session/d/f", SESSION, None, "", "d/f")),
        (b".session", Target(Kind.COLLECTION, "data://.session", SESSION)),
        (b".session/f", Target(Kind.FILE, "data://.session/f", SESSION, None, "", "f")),
        (b".algo", Target(Kind.ALGO_LEVEL, "data://.algo", ALGO)),
        (b".algo/o", Target(Kind.ALGO_LEVEL, "data://.algo/o", ALGO, None, "o")),
        (b".algo/o/n/", Target(Kind.ALGO_LEVEL, "data://.algo/o/n", ALGO, None, "o/n")),
        (b".algo/o/n/x", Target(Kind.COLLECTION, "data://.algo/o/n/x", ALGO, None, "o/n/x")),
        (b".algo/o/n/temp/f", Target(Kind.FILE, "data://.algo/o/n/temp/f", ALGO, None, "o/n/temp", "f")),
        (b".algo/o/n/temp/d/f", Target(Kind.FILE, "data://.algo/o/n/temp/d/f", ALGO, None, "o/n/temp", "d/f")),
        (b".algo/o/n/x/d/", Target(Kind.FOLDER, "data://.algo/o/n/x/d", ALGO, None, "o/n/x", folder="d")),
        (b".algo/temp", Target(Kind.COLLECTION, "data://.algo/temp", ALGO, None, "temp", "", True)),
        (b".algo/perm/f", Target(Kind.FILE, "data://.algo/perm/f", ALGO, None, "perm", "f", True)),
        (b".algo/temp/d/f", Target(Kind.FILE, "data://.algo/temp/d/f", ALGO, None, "temp", "d/f", True)),
    ],
)
def test_targets(tail: bytes, expected: Target) -> None:
    assert parse(tail) == expected


@pytest.mark.parametrize("tail", [b".my/c/f", b".my%2Fc%2Ff", b"/.my/c/f", b".my//c/f"])
def test_connector_form(tail: bytes) -> None:
    if b"//" in tail:
        with pytest.raises(BadRequest):
            parse_connector(b"data/" + tail)
    else:
        assert parse_connector(b"data/" + tail) == parse(tail)
        assert parse_connector(b"data%2F" + tail) == parse(tail)


def test_connector_form_of_the_root() -> None:
    assert parse_connector(b"data") == parse_connector(b"data/") == parse(b"")


@pytest.mark.parametrize(
    "tail", [b"ftp://b/k", b"s4%2Blab%3A%2F%2Fb%2Fk", b"data+x://k"]
)
def test_other_protocols_do_not_exist(tail: bytes) -> None:
    with pytest.raises(BadRequest, match="no data connector .* is possible"):
        parse(tail)


@pytest.mark.parametrize("tail", [b"s-3/b/k", b"s3+/b/k", b"s3+a-b/k", b"s3+a+b/k", "s3+é/k".encode()])
def test_names_that_connectors_do_not_have(tail: bytes) -> None:
    with pytest.raises(BadRequest, match="is not a connector"):
        parse_connector(tail)


@pytest.mark.parametrize(
    ("tail", "connector", "path"),
    [
        (b"s3+lab://b/k", "s3+lab", "b/k"),
        (b"s3%2Blab%3A%2F%2Fb%2Fk+x", "s3+lab", "b/k x"),
        (b"S3+a_b://k", "s3+a_b", "k"),
        (b"dropbox://x/y%20z", "dropbox", "x/y z"),
        (b"gs://b/a//b", "gs", "b/a//b"),
        (b"azureblob:///x", "azureblob", "x"),
    ],
)
def test_paths_of_connectors(tail: bytes, connector: str, path: str) -> None:
    target = parse(tail)
    assert (target.connector, target.path, target.kind) == (connector, path, Kind.CONNECTED)
    assert target.uri == f"{connector}://{path}"
    assert parse_connector(connector.encode() + b"/" + path.replace(" ", "%20").encode()) == target


@pytest.mark.parametrize("tail", [b"s3://", b"s3://b/", b"s3://b/k/"])
def test_directories_of_connectors(tail: bytes) -> None:
    assert parse(tail).kind is Kind.COLLECTION


@pytest.mark.parametrize("tail", [b"b/../c", b"b/%2e%2e/c", b"./b", b"b/a%0ab", b"b/" + b"x" * 5000])
def test_paths_that_no_provider_gets(tail: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(b"s3://" + tail)


@pytest.mark.parametrize(
    "tail",
    [
        b".my/./f",
        b".my/../x/y",
        b"..",
        b".my/c/%2e%2e",
        b".my/c/..%2f..%2fetc",
        b".my//f",
        b".my/c//",
        b".my/c/d//f",
        b".my/c/d/./f",
        b".my/c/d/../f",
        b".my/c/a%00b",
        b".my/c/d%01/f",
        b".my/c/a%0Ab",
        b".my/c/%7f",
        b".my/c/%C2%85",
        b".my/c/%ff",
        b".my/c/%C0%AF",
        b".my/c/%ED%A0%80",
        b".my/c/" + b"a" * 1025,
        b".my/c/" + b"%E2%82%AC" * 342,
        b".my/c/" + b"a/" * 512 + b"b",
        b".my/c/" + b"a/" * 512 + b"bc/",
        b".algo/" + b"o" * 31,
        b".algo/o/" + b"n" * 65,
        b".algo/o/n/" + b"f" * 65,
    ],
)
def test_refused(tail: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(tail)


def test_longest_name() -> None:
    assert parse(b".my/c/" + b"%E2%82%AC" * 341 + b"a").file == "€" * 341 + "a"
    assert parse(b".my/c/" + b"a/" * 511 + b"bc").file == "a/" * 511 + "bc"
    assert parse(b".my/c/" + b"a/" * 511 + b"bc/").folder == "a/" * 511 + "bc"


@given(st.binary(max_size=200))
@example(b"%2f%2F")
def test_any_bytes_give_a_target_or_a_refusal(tail: bytes) -> None:
    for function in (parse, parse_connector):
        try:
            target = function(tail)
        except ApiProblem as problem:
            assert 400 <= problem.status < 500
            problem.message.encode("utf-8")
        else:
            names = target.uri.removeprefix("data://").split("/")
            assert not {".", ".."}.intersection(names)
            assert "\0" not in target.uri


names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=50)


@given(names.filter(lambda name: name not in (".", "..")))
def test_every_name_comes_back_as_it_was_sent(name: str) -> None:
    assert parse(b".my/c/" + quote(name, safe="").encode("ascii")).file == name
    assert parse(quote_plus(f".my/c/{name}", safe="").encode("ascii")).file == name
