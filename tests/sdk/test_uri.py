# -*- coding: utf-8 -*-
"""Data URIs and algorithm references to API paths."""
import pytest

from Algorithmia import uri
from Algorithmia._compat import unquote_text
from Algorithmia.util import getParentAndBase, md5_for_file, md5_for_str, pathJoin


@pytest.mark.parametrize(
    "text, parts",
    [
        ("data://.my/c/f", ("data", ".my/c/f")),
        ("data:///.my/c", ("data", ".my/c")),
        ("data://", ("data", "")),
        (".my/c", ("data", ".my/c")),
        ("/owner/c", ("data", "owner/c")),
        ("s3+lab_1://bucket/a//b", ("s3+lab_1", "bucket/a//b")),
        ("S3+Lab://b/k", ("s3+Lab", "b/k")),
        ("gs://b/k", ("gs", "b/k")),
    ],
)
def test_data_uris_are_split_into_connector_and_path(text, parts):
    assert uri.parse_data_uri(text) == parts


@pytest.mark.parametrize("text", ["http://x/y", "algo://a/b", None, 7])
def test_other_things_are_not_data_uris(text):
    with pytest.raises(ValueError):
        uri.parse_data_uri(text)


@pytest.mark.parametrize("name", [u"a b", u"#", u"?", u"%41", u"a+b", u"ünï", u".hidden", u"~x", u"a&b=c", u"日本"])
def test_any_name_survives_encoding(name):
    path = uri.api_path("data", u".my/c/" + name)
    assert path.startswith("/v1/data/.my/c/")
    assert isinstance(path, str)
    assert all(c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%!$'()*,;=:@" for c in path)
    assert unquote_text(path[len("/v1/data/.my/c/") :]) == name


def test_connectors_have_their_own_route():
    assert uri.api_path("s3+lab", "b/k") == "/v1/connector/s3+lab/b/k"


@pytest.mark.parametrize(
    "text, path",
    [
        ("demo/Hello", "/v1/algo/demo/Hello"),
        ("demo/Hello/", "/v1/algo/demo/Hello"),
        ("algo://demo/Hello/0.1.*", "/v1/algo/demo/Hello/0.1.*"),
        ("algo:///demo/Hello", "/v1/algo/demo/Hello"),
        ("/demo/Hello/latestPrivate", "/v1/algo/demo/Hello/latestPrivate"),
        ("my-team/Hello", "/v1/algo/my-team/Hello"),
        ("123e4567-e89b-12d3-a456-426614174000/1.0.0", "/v1/algo/123e4567-e89b-12d3-a456-426614174000/1.0.0"),
    ],
)
def test_algorithm_references(text, path):
    assert uri.AlgorithmRef(text).call_path == path


@pytest.mark.parametrize("text", ["", "demo", "demo/", "a/b/c/d", "data://a/b", None, "../x/y", "a b/c"])
def test_invalid_algorithm_references(text):
    with pytest.raises(ValueError) as caught:
        uri.AlgorithmRef(text)
    assert "Invalid algorithm URI: " in str(caught.value)


def test_options_inside_a_reference():
    assert uri.AlgorithmRef("algo://demo/Hello?timeout=10").query == {"timeout": "10"}


def test_parent_and_base():
    assert getParentAndBase("a/b/c") == ("a/b", "c")
    assert getParentAndBase("data://foo/bar") == ("data://foo", "bar")
    assert getParentAndBase("data:///foo") == ("data:///", "foo")
    for text in ("/", "", "a/"):
        with pytest.raises(ValueError):
            getParentAndBase(text)


def test_path_join():
    assert pathJoin("/a/b/", "c") == "/a/b/c"
    assert pathJoin("/a/b", "c") == "/a/b/c"


def test_md5(tmpdir):
    tmpdir.join("f").write("hello")
    assert md5_for_file(str(tmpdir.join("f"))) == md5_for_str("hello") == "5d41402abc4b2a76b9719d911017c592"


def test_what_is_remote():
    assert uri.is_remote("data://x") and uri.is_remote("s3+l://b") and uri.is_remote("DATA://x")
    assert not uri.is_remote("file:///x") and not uri.is_remote("./x") and not uri.is_remote("http://x")
