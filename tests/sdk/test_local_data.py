# -*- coding: utf-8 -*-
"""``file://`` under the names of hosted data."""
import pytest

import Algorithmia
from Algorithmia.errors import DataApiError


@pytest.fixture
def local(tmpdir):
    return Algorithmia.client("k", "http://127.0.0.1:1").dir("file://" + str(tmpdir.join("d")))


def test_a_file_goes_round(local):
    local.create()
    one = local.file("one.txt")
    assert not one.exists() and one.existsWithError()[0] is False
    assert one.put(u"hällo") is one
    assert one.exists() and one.getString() == u"hällo" and one.getBytes() == u"hällo".encode("utf-8")
    assert one.getName() == "one.txt"
    with one.getFile() as handle:
        assert handle.read() == u"hällo"
    assert one.delete() is True and not one.exists()


def test_defect_27_put_file_copies_and_keeps_the_source(local, tmpdir):
    local.create()
    tmpdir.join("source").write("content")
    local.file("copy").putFile(str(tmpdir.join("source")))
    assert tmpdir.join("source").read() == "content"
    assert local.file("copy").getString() == "content"


def test_defect_27_put_json_works(local):
    local.create()
    assert local.file("j").putJson({"a": [1]}).getJson() == {"a": [1]}


def test_defect_27_listings_take_no_argument(local):
    local.create()
    local.file("b").put("x")
    local.dir("sub").create()
    assert [item.getName() for item in local.files()] == ["b"]
    assert [item.getName() for item in local.dirs()] == ["sub"]
    assert list(local.list()) == ["b", "sub"]


def test_defect_27_delete_obeys_force(local):
    local.create()
    local.file("b").put("x")
    with pytest.raises(DataApiError):
        local.delete()
    assert local.exists()
    local.delete(force=True)
    assert not local.exists()


def test_missing_files(local):
    for read in (local.file("x").getBytes, local.file("x").getFile, local.file("x").delete):
        with pytest.raises(DataApiError):
            read()


def test_put_wants_text_or_bytes(local):
    local.create()
    with pytest.raises(TypeError):
        local.file("x").put({"a": 1})


def test_permissions_are_the_operating_systems(local):
    from Algorithmia.acl import ReadAcl

    assert local.get_permissions() is None
    with pytest.raises(DataApiError):
        local.update_permissions(ReadAcl.public)
