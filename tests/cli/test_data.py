# -*- coding: utf-8 -*-
"""`algo ls`, `mkdir`, `rmdir`, `rm` and `cat`, against the platform."""
import re

import pytest
from wire import WireServer, answer

from Algorithmia._compat import native
from Algorithmia.cli import output, remote

EVERYTHING = bytes(bytearray(range(256)))


@pytest.fixture
def robots(collection):
    """A collection with two files."""
    collection.file("R2-D2.txt").put("b" * 48)
    collection.file("photo.bin").put(EVERYTHING)
    return collection


def listing(*names):
    entries = [{"filename": name, "size": 1500, "last_modified": "2016-01-06T00:52:34.000Z"} for name in names]
    return answer({"folders": [{"name": "sub"}], "files": entries}, headers=["X-Data-Type: directory"])


# -- ls -----------------------------------------------------------------------------------------------------------


def test_account_name(algo, server):
    for words in (("ls",), ("dir",), ("ls", "data://"), ("ls", "--profile", "default")):
        ran = algo(*words)
        assert (ran.status, ran.text, ran.stderr) == (0, server.user + "/\n", "")


def test_a_directory(algo, robots, server):
    for path in (robots.uri, robots.path, robots.uri + "/", "/" + robots.path.replace(".my", server.user)):
        assert sorted(algo("ls", path).text.splitlines()) == ["R2-D2.txt", "photo.bin"]
    assert robots.getName() + "/" in algo("ls", ".my").text.splitlines()


def test_a_file(algo, robots):
    assert algo("ls", robots.path + "/R2-D2.txt").text == "R2-D2.txt\n"


def test_long(algo, robots):
    lines = sorted(algo("ls", "-l", robots.uri).text.splitlines(), key=lambda line: line.split()[-1])
    assert re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d    48 R2-D2\.txt$", lines[0])
    assert re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d   256 photo\.bin$", lines[1])
    line = [line for line in algo("ls", "-l", ".my").text.splitlines() if robots.getName() in line][0]
    assert line.split() == ["--", "--", "[dir]", robots.getName() + "/"]


def test_long_as_documented(cli, profile):
    with WireServer(listing("R2-D2.txt")) as platform:
        profile(platform.address)
        assert cli("ls", "-l", ".my/c").out == "--         --       [dir] sub/\n2016-01-06 00:52:34  1500 R2-D2.txt\n"
        assert cli("ls", "-lH", ".my/c").out.splitlines()[1] == "2016-01-06 00:52:34  1.5k R2-D2.txt"


def test_json(algo, robots):
    rows = dict((row["name"], row) for row in algo("ls", "--json", robots.uri).json)
    row = rows["R2-D2.txt"]
    assert (row["type"], row["size"], row["uri"]) == ("file", 48, robots.uri + "/R2-D2.txt")
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", row["last_modified"])
    rows = algo("ls", "--json").json
    assert [row["type"] for row in rows] == ["directory"]


def test_columns_on_a_terminal(cli, profile):
    with WireServer(listing("R2-D2.txt", "a\x1b[31m")) as platform:
        profile(platform.address)
        shown = cli("ls", ".my/c", terminal=True).out
        assert shown == "\033[34msub/\033[0m       R2-D2.txt  a?[31m\n"
        assert "\033" not in cli("ls", ".my/c").out.replace("a\x1b", "")


def test_empty_directory(algo, collection):
    ran = algo("ls", collection.uri)
    assert (ran.status, ran.stdout, ran.stderr) == (0, b"", "")
    assert algo("ls", "--json", collection.uri).json == []


def test_missing(algo, collection):
    for path in (".my/no_such_directory", collection.path + "/no", "nobody_at_all/x"):
        ran = algo("ls", path)
        assert (ran.status, ran.stdout) == (4, b"") and ran.stderr.startswith("Error listing directory: "), ran


def test_several(algo, robots, collection):
    ran = algo("ls", robots.uri, ".my/no_such_directory", robots.uri + "/photo.bin")
    assert ran.status == 4
    lines = ran.text.splitlines()
    assert lines[0] == robots.uri + ":" and lines[-1] == "photo.bin"


def test_wildcards(algo, robots):
    assert algo("ls", robots.uri + "/*.txt").text == "R2-D2.txt\n"
    assert algo("ls", robots.uri + "/*.png").status == 4


def test_requests_are_few(cli, profile):
    with WireServer(listing("a")) as platform:
        profile(platform.address)
        cli("ls", ".my/c")
        assert [request.method for request in platform.requests] == ["GET"]


def test_unknown_protocol(cli, profile):
    profile("http://127.0.0.1:1")
    ran = cli("ls", "http://example.com/x")
    assert ran.status == 2 and "not a data URI" in ran.err


def test_long_listing_is_paged(algo, server, new_account, start_server):
    platform = start_server("--port", "0", "--page-size", "3")
    directory = platform.client().dir("data://.my/pages")
    directory.create()
    names = ["f%d" % number for number in range(8)]
    for name in names:
        directory.file(name).put(name)
    env = {"ALGORITHMIA_API": platform.address, "ALGORITHMIA_API_KEY": platform.key}
    assert sorted(algo("ls", ".my/pages", env=env, configured=False).text.split()) == names
    assert algo("cat", ".my/pages/*", env=env, configured=False).text == "".join(names)


# -- mkdir and rmdir ----------------------------------------------------------------------------------------------


def test_mkdir_and_rmdir(algo, client):
    ran = algo("mkdir", ".my/made_here")
    assert (ran.status, ran.text, ran.stderr) == (0, "Created directory: data://.my/made_here\n", "")
    assert client.dir("data://.my/made_here").exists()
    again = algo("mkdir", ".my/made_here")
    assert (again.status, again.stdout) == (1, b"") and "exists" in again.stderr
    assert algo("mkdir", "-p", ".my/made_here").status == 0
    client.file("data://.my/made_here/f").put("x")
    refused = algo("rmdir", "data://.my/made_here")
    assert refused.status == 1 and "-f" in refused.stderr and client.dir("data://.my/made_here").exists()
    ran = algo("rmdir", "-f", "data://.my/made_here")
    assert (ran.status, ran.text) == (0, "Deleted directory: data://.my/made_here\n")
    assert algo("rmdir", ".my/made_here").status == 4


def test_mkdir_of_folders(algo, client):
    assert "folders come by themselves" in algo("mkdir", ".my/made_there/a").stderr
    assert algo("mkdir", "-p", ".my/made_there/a/b").text == "Created directory: data://.my/made_there\n"
    assert algo("mkdir", "-p", ".my/made_there/a/b").stdout == b""
    client.file("data://.my/made_there/a/b/f").put("x")
    assert algo("rmdir", ".my/made_there/a").status == 1 and algo("rmdir", "-f", ".my/made_there/a").status == 0
    assert algo("rm", "-r", ".my/made_there").text == "Deleted directory: data://.my/made_there\n"


def test_quiet(algo):
    assert algo("mkdir", "-q", ".my/quiet_one").stdout == b""
    assert algo("-q", "rmdir", ".my/quiet_one").stdout == b""


def test_several_directories(algo):
    assert algo("mkdir", ".my/one_a", ".my/one_b").status == 0
    assert algo("rmdir", ".my/one_a", ".my/no_such", ".my/one_b").status == 4
    assert algo("rmdir", ".my/one_b").status == 4


def test_the_root_is_no_name(cli, profile):
    profile("http://127.0.0.1:1")
    for command in ("mkdir", "rmdir", "rm", "cat"):
        assert cli(command, "data://").status == 2


def test_permission(algo, server):
    ran = algo("mkdir", "demo/mine_now")
    assert ran.status == 3 and ran.stdout == b""


# -- rm -----------------------------------------------------------------------------------------------------------


def test_rm(algo, robots):
    ran = algo("rm", robots.path + "/R2-D2.txt")
    assert (ran.status, ran.text) == (0, "Deleted file %s/R2-D2.txt\n" % robots.uri)
    assert not robots.file("R2-D2.txt").exists()
    gone = algo("rm", robots.path + "/R2-D2.txt")
    assert (gone.status, gone.stdout) == (4, b"") and "R2-D2.txt" in gone.stderr
    assert algo("rm", "-f", robots.path + "/R2-D2.txt").status == 0


def test_rm_is_for_files(algo, collection):
    ran = algo("rm", collection.path)
    assert (ran.status, ran.stdout) == (1, b"") and "algo rm -r " + collection.uri in ran.stderr
    assert collection.exists()


def test_rm_with_directories(algo, collection):
    for name in ("a/b/f", "a/g", "ab/f", "h", "ah"):
        collection.file(name).put("x")
    ran = algo("rm", collection.path + "/a")
    assert ran.status == 1 and "algo rm -r %s/a" % collection.uri in ran.stderr and "force" not in ran.stderr
    assert algo("rm", "-r", collection.path + "/a/b").text == "Deleted directory: %s/a/b\n" % collection.uri
    assert algo("rm", "-r", collection.path + "/a*").status == 0
    assert [item.getName() for item in collection.list()] == ["h"]
    assert algo("rm", "-r", collection.path + "/h", collection.path + "/none").status == 4
    assert algo("rm", "-rf", collection.path + "/none").status == 0 and list(collection.list()) == []


def test_rm_goes_on(algo, robots):
    ran = algo("rm", robots.uri + "/R2-D2.txt", robots.uri + "/no", robots.uri + "/photo.bin")
    assert ran.status == 4 and len(ran.text.splitlines()) == 2 and list(robots.list()) == []


def test_rm_wildcard(algo, robots):
    assert algo("rm", robots.uri + "/*.bin").status == 0
    assert [item.getName() for item in robots.list()] == ["R2-D2.txt"]
    assert algo("rm", robots.uri + "/*.bin").status == 4
    assert algo("rm", "-f", robots.uri + "/*.bin").status == 0


# -- cat ----------------------------------------------------------------------------------------------------------


def test_cat(algo, robots):
    assert algo("cat", robots.path + "/photo.bin").stdout == EVERYTHING
    assert algo("cat", robots.uri + "/photo.bin", robots.uri + "/R2-D2.txt").stdout == EVERYTHING + b"b" * 48
    assert algo("cat", robots.uri + "/*").stdout in (EVERYTHING + b"b" * 48, b"b" * 48 + EVERYTHING)


def test_cat_of_nothing(algo, robots):
    ran = algo("cat", robots.uri + "/no", robots.uri + "/R2-D2.txt")
    assert ran.status == 4 and ran.stdout == b"b" * 48 and "no" in ran.stderr
    ran = algo("cat", robots.uri)
    assert ran.status != 0 and ran.stdout == b"" and "directory" in ran.stderr


def test_names_with_odd_characters(algo, collection):
    name = u"a b#c?d%20\u00fc[1]+.txt"
    collection.file(name).put("odd")
    path = native(collection.uri + "/" + name)
    assert algo("cat", path).text == "odd"
    assert algo("ls", collection.uri).text == name + "\n"
    assert algo("rm", path).text == u"Deleted file %s/%s\n" % (collection.uri, name)


# -- helpers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, text",
    [(0, "0"), (48, "48"), (999, "999"), (1000, "1.0k"), (1500, "1.5k"), (9949, "9.9k"), (9999, "10k"),
     (657000, "657k"), (999499, "999k"), (999500, "1.0M"), (2100000, "2.1M"), (5 * 10 ** 9, "5.0G")],
)  # fmt: skip
def test_human_size(size, text):
    assert output.human_size(size) == text


def test_only_the_star_is_special():
    assert remote.matcher("a*").match("abc") and not remote.matcher("a*").match("bac")
    assert remote.matcher("*.[x]").match("f.[x]") and not remote.matcher("*.[x]").match("f.x")
    assert remote.matcher("*").match("line\nbreak") and not remote.matcher("a*b").match("abc")


def test_columns_fill_downwards():
    rows, cell = output.columns(["a", "bb", "c", "d", "e"], 13)
    assert rows == [["a", "c", "e"], ["bb", "d"]] and cell == 4
