"""The curl commands of the service's documents, run by curl itself, and the URL forms of clients that aren't at hand.

A command stands here as its document prints it, with the URL that the page left out filled in; in front of our platform
only the address and the key are put into it. A .curlrc, not the command, makes curl quiet and keep the headers.
"""
import json
import os
import re
import shutil

import pytest
from published import minimal_environment, run

DOCUMENTED = "https://api.algorithmia.com"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(bytearray(range(256))) * 40 + b"\xff\xd9"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


class Answer(object):
    """The last HTTP answer of a command: `status`, `headers` (names in lower case), `body` (bytes), `json`, `error`."""

    def __init__(self, head, body):
        lines = re.split("\r?\n\r?\n", head.strip())[-1].splitlines()
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.lower()] = value.strip()
        self.body = body

    @property
    def json(self):
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body.decode("utf-8"))

    @property
    def result(self):
        assert self.status == 200 and "error" not in self.json, self
        return self.json["result"]

    @property
    def message(self):
        message = self.json["error"]["message"]
        # Who cannot read the body has it in a header.
        assert self.status == 200 or self.headers["x-error-message"] == message, self
        return message

    def __repr__(self):
        return "Answer(%r, %r, %r)" % (self.status, self.headers, self.body[:2000])


@pytest.fixture
def account(new_account):
    """An account of this test's own, so that its data:// is empty."""
    return new_account()


@pytest.fixture
def curl(server, account, tmpdir):
    """A function that runs a shell command with curl in it, in `tmpdir`: ``curl(command, key=None)``."""
    tmpdir.join(".curlrc").write('silent\nshow-error\nmax-time = 120\ndump-header = "head"\n')

    def run_command(command, key=None):
        command = command.replace(DOCUMENTED, server.address).replace("YOUR_API_KEY", key or account.key)
        done = run(["sh", "-c", command], minimal_environment(tmpdir), tmpdir)
        assert done.status == 0, done
        return Answer(tmpdir.join("head").read(), done.stdout)

    return run_command


# The guide "cURL" of the developer center.


def test_guide_call_with_json(curl):
    answer = curl("""
        curl https://api.algorithmia.com/v1/algo/demo/Hello \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '"HAL 9000"'
    """)
    assert answer.result == "Hello HAL 9000"
    assert answer.json["metadata"]["content_type"] == "text" and answer.json["metadata"]["duration"] >= 0


def test_guide_complex_json(curl):
    """The quoting of the guide's call of nlp/LDA, sent to an algorithm that shows what arrives."""
    answer = curl("""
        curl https://api.algorithmia.com/v1/algo/util/Echo/0.1.0 \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '{"docsList": ["It'\\''s apple picking season","The apples are ready for picking"]}'
    """)
    assert answer.result == {"docsList": ["It's apple picking season", "The apples are ready for picking"]}
    assert answer.json["metadata"]["content_type"] == "json"


def test_guide_request_options(curl):
    answer = curl("""
        curl 'https://api.algorithmia.com/v1/algo/demo/Hello?timeout=60&stdout=false' \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '"HAL 9001"'
    """)
    assert answer.result == "Hello HAL 9001" and "stdout" not in answer.json["metadata"]


@pytest.mark.parametrize("slash", ["/", ""])
def test_guide_error_handling(curl, slash):
    """The message that the guide shows ends in the slash of the URL."""
    answer = curl("""
        curl https://api.algorithmia.com/v1/algo/util/whoopsWrongAlgo%s \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '"Hello, world"'
    """ % slash)
    assert answer.message == "algorithm algo://util/whoopsWrongAlgo%s not found" % slash
    assert answer.status == 404


@pytest.mark.parametrize("route", ["/v1/connector/data", "/v1/data"])
def test_guide_hosted_data(curl, new_account, account, tmpdir, route):
    """From the empty account to the download of what an algorithm wrote, over both routes of the API."""
    created = curl("""
        curl '%s/.my' \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '{"name": "img_directory"}'
    """ % (DOCUMENTED + route))
    assert created.status == 200 and created.json == {"result": "data://.my/img_directory"}

    opened = curl("""
        curl '%s/.my/img_directory' \\
            -X PATCH \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '{"acl": {"read": ["user://*"]} }'
    """ % (DOCUMENTED + route))
    assert opened.status == 200 and opened.body == b""

    tmpdir.join("friends.jpg").write_binary(JPEG)
    uploaded = curl("""
        curl '%s/.my/img_directory/friends.jpg' \\
            -X PUT \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            --data-binary @friends.jpg
    """ % (DOCUMENTED + route))
    assert uploaded.status == 200 and uploaded.json == {"result": "data://.my/img_directory/friends.jpg"}

    # util/CopyData stands in for the image algorithm of the guide: it reads the image and writes the second file.
    called = curl("""
        curl https://api.algorithmia.com/v1/algo/util/CopyData \\
            -X POST \\
            -H 'Content-Type: application/json' \\
            -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '{
            "source": "data://.my/img_directory/friends.jpg",
            "target": "data://.algo/temp/detected_faces.png"
        }'
    """)
    assert called.result["bytes"] == len(JPEG)

    downloaded = curl("""
        curl -O '%s/.algo/util/CopyData/temp/detected_faces.png' \\
            -H 'Authorization: Simple YOUR_API_KEY'
    """ % (DOCUMENTED + route))
    assert downloaded.status == 200 and downloaded.headers["x-data-type"] == "file"
    assert tmpdir.join("detected_faces.png").read_binary() == JPEG

    # The PATCH above has opened the collection to everybody, for reading.
    friends = "%s%s/%s/img_directory/friends.jpg" % (DOCUMENTED, route, account.name)
    stranger = new_account().key
    read = curl("curl '%s' -H 'Authorization: Simple YOUR_API_KEY'" % friends, stranger)
    assert read.status == 200 and read.body == JPEG and read.headers["content-type"] == "image/jpeg"
    written = curl("curl '%s' -X PUT -H 'Authorization: Simple YOUR_API_KEY' -d x" % friends, stranger)
    assert written.status == 403 and written.message


# The page "API Specification".


def test_specification_call_with_text(curl):
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d 'YOUR_NAME' -H 'Content-Type: text/plain' \\
            https://api.algorithmia.com/v1/algo/demo/Hello/
    """)
    assert answer.result == "Hello YOUR_NAME"


@pytest.mark.parametrize("version", ["0.1.0", "0.1.*", "0.*", ""])
def test_specification_versions(curl, version):
    call = "curl 'https://api.algorithmia.com/v1/algo/demo/Hello/%s' -H 'Authorization: Simple YOUR_API_KEY'" % version
    assert curl(call + " -H 'Content-Type: text/plain' -d x").result == "Hello x"


@pytest.mark.parametrize("version", ["7.7.7", "7.*", "0.7.*"])
def test_versions_that_do_not_exist(curl, version):
    call = "curl 'https://api.algorithmia.com/v1/algo/demo/Hello/%s' -H 'Authorization: Simple YOUR_API_KEY'" % version
    answer = curl(call + " -H 'Content-Type: text/plain' -d x")
    assert answer.status == 404 and version in answer.message


@pytest.mark.parametrize(
    "content_type, data, result, kind",
    [
        ("application/json", '{"a": [1, 2.5, null, "ü"]}', {"a": [1, 2.5, None, "ü"]}, "json"),
        ("application/json", '"ü"', "ü", "text"),
        ("application/json", "null", None, "json"),
        ("application/json; charset=utf-8", "[]", [], "json"),
        ("application/text", '["just text"]', '["just text"]', "text"),
        ("text/plain", "ünï", "ünï", "text"),
        ("text/plain; charset=UTF-8", "ünï", "ünï", "text"),
        ("application/octet-stream", "bytes", "Ynl0ZXM=", "binary"),
        ("application/x-octet-stream", "", "", "binary"),
    ],
)
def test_specification_input_and_output_types(curl, tmpdir, content_type, data, result, kind):
    tmpdir.join("input").write_binary(data.encode("utf-8"))
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            --data-binary @input -H 'Content-Type: %s' \\
            https://api.algorithmia.com/v1/algo/util/Echo
    """ % content_type)
    assert answer.result == result and answer.json["metadata"]["content_type"] == kind


def test_input_that_is_not_what_it_says(curl):
    call = "curl -H 'Authorization: Simple YOUR_API_KEY' https://api.algorithmia.com/v1/algo/demo/Hello"
    broken = curl(call + " -H 'Content-Type: application/json' -d '{broken'")
    assert broken.status == 400 and "JSON" in broken.message
    form = curl(call + " -d x")
    assert form.status == 415 and "application/x-www-form-urlencoded" in form.message
    untyped = curl(call + " -H 'Content-Type:' -d x")
    assert untyped.status == 400 and "Content-Type" in untyped.message


def test_specification_timeout(curl):
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '30' -H 'Content-Type: application/json' \\
            'https://api.algorithmia.com/v1/algo/util/Sleep?timeout=1'
    """)
    assert answer.status == 200 and "timed-out" in answer.message
    assert 0 <= answer.json["metadata"]["duration"] < 10
    refused = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '0' -H 'Content-Type: application/json' \\
            'https://api.algorithmia.com/v1/algo/util/Sleep?timeout=3001'
    """)
    assert refused.status == 400 and "3000" in refused.message


def test_specification_stdout(curl):
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d 'printed' -H 'Content-Type: text/plain' \\
            'https://api.algorithmia.com/v1/algo/util/Print?stdout=true'
    """)
    assert answer.json["metadata"]["stdout"].splitlines() == ["printed", "printed"]


def test_specification_raw_output(curl):
    call = "curl -H 'Authorization: Simple YOUR_API_KEY' -H 'Content-Type: %s' -d '%s' '%s/v1/algo/util/%s?output=raw'"
    text = curl(call % ("text/plain", "ünï", DOCUMENTED, "Echo"))
    assert (text.status, text.body) == (200, "ünï".encode("utf-8"))
    assert text.headers["content-type"].startswith("text/plain")
    listed = curl(call % ("application/json", "[1, null]", DOCUMENTED, "Echo"))
    assert listed.status == 200 and listed.json == [1, None]
    binary = curl(call % ("application/octet-stream", "bytes", DOCUMENTED, "Echo"))
    assert (binary.status, binary.body) == (200, b"bytes")
    failed = curl(call % ("text/plain", "boom", DOCUMENTED, "Fail"))
    assert (failed.status, failed.body, failed.headers["x-error-message"]) == (400, b"boom", "boom")


def test_specification_void_output(curl):
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '3' -H 'Content-Type: application/json' \\
            'https://api.algorithmia.com/v1/algo/util/Sleep?output=void'
    """)
    assert answer.status == 200 and sorted(answer.json) == ["async", "request_id"]
    assert answer.json["async"] == "void" and answer.json["request_id"].startswith("req-")


def test_specification_errors(curl):
    """What goes wrong in an algorithm is told with status 200: here it wants a number and receives an array."""
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            -d '["not", "a", "number"]' -H 'Content-Type: application/json' \\
            https://api.algorithmia.com/v1/algo/util/Sleep
    """)
    assert answer.status == 200 and "float()" in answer.message
    assert "Sleep.py" in answer.json["error"]["stacktrace"] and answer.json["metadata"]["duration"] >= 0


def test_specification_size_limit(curl, tmpdir):
    call = """
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' \\
            --data-binary @input -H 'Content-Type: application/octet-stream' \\
            'https://api.algorithmia.com/v1/algo/util/Echo?output=raw'
    """
    allowed = b"\x00\xff" * (5 * 1024 * 1024)
    tmpdir.join("input").write_binary(allowed)
    answer = curl(call)
    assert answer.status == 200 and answer.body == allowed
    tmpdir.join("input").write_binary(allowed + b"x")
    answer = curl(call)
    assert answer.status == 413 and "10485760" in answer.message and "Data API" in answer.message


# Authorization.


@pytest.mark.parametrize("header", ["Simple YOUR_API_KEY", "YOUR_API_KEY", "Bearer YOUR_API_KEY"])
def test_forms_of_the_authorization_header(curl, header):
    call = "curl -d x -H 'Content-Type: text/plain' -H 'Authorization: %s' https://api.algorithmia.com/v1/algo/demo/Hello"
    assert curl(call % header).result == "Hello x"


@pytest.mark.parametrize("path", ["algo/demo/Hello", "data/.my", "connector/data/.my", "algo/demo/NoSuchAlgo"])
def test_without_a_key_or_with_a_wrong_one(curl, path):
    call = "curl -d '\"x\"' -H 'Content-Type: application/json' https://api.algorithmia.com/v1/" + path
    assert curl(call).status == 401 and curl(call).message
    wrong = curl(call + " -H 'Authorization: Simple simWRONGWRONGWRONGWRONGWRONG'")
    assert wrong.status == 401 and wrong.message


# URL forms of the published clients in other languages.


@pytest.mark.parametrize(
    "path",
    [
        "/v1/algo/algo%3A//demo/Hello/",
        "/v1/algo/algo://demo/Hello/",
        "/v1/algo/algo://demo/Hello/0.1.0",
        "/v1/algo/algo://demo/Hello?timeout=10",
        "/v1/algo//demo/Hello",
        "/v1/algo/demo/Hello?output=default&timeout=300&stdout=False",
        "/v1/web/algo/demo/Hello",
    ],
)
def test_forms_of_a_call(curl, server, path):
    key = server.key
    call = "curl -d x -H 'Content-Type: text/plain' -H 'Authorization: Simple YOUR_API_KEY' '%s%s'" % (DOCUMENTED, path)
    assert curl(call, key).result == "Hello x"


# (collection, file) as the clients write them; the second is a name that needs encoding.
FORMS = [
    ("/v1/data/.my/%s", "/v1/data/.my/%s/f", "/v1/data/.my/%s/a%%20b%%2Bc"),  # Python, Go, C#, R, Ruby, Node
    ("/v1/data/.my%%2F%s", "/v1/data/.my%%2F%s%%2Ff", "/v1/data/.my%%2F%s%%2Fa+b%%2Bc"),  # Java, Scala
    ("/v1/data/data://.my/%s", "/v1/data/data://.my/%s/f", "/v1/data/data://.my/%s/a%%20b%%2Bc"),
    ("/v1/data/data%%3A%%2F%%2F.my%%2F%s", "/v1/data/data%%3A%%2F%%2F.my%%2F%s%%2Ff",
     "/v1/data/data%%3A%%2F%%2F.my%%2F%s%%2Fa+b%%2Bc"),
    ("/v1/connector/data/.my/%s", "/v1/connector/data/.my/%s/f", "/v1/connector/data/.my/%s/a%%20b%%2Bc"),  # Rust
    ("/v1/data//.my/%s/", "/v1/data//.my/%s/f", "/v1/data//.my/%s/a%%20b%%2Bc"),
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_data_path(curl, form):
    auth = "curl -H 'Authorization: Simple YOUR_API_KEY' "
    made = curl(auth + "-H 'Content-Type: application/json' -d '{\"name\": \"c\"}' %s/v1/data/.my/" % DOCUMENTED)
    assert made.result == "data://.my/c"
    directory, plain, spaced = (DOCUMENTED + path % "c" for path in form)
    assert curl(auth + "-T - '%s' </dev/null" % plain).status == 200
    assert curl(auth + "-X PUT --data-binary 'a=b&c' '%s'" % spaced).status == 200
    for item, size in ((plain, "0"), (spaced, "5")):
        head = curl(auth + "-I '%s'" % item)
        assert (head.status, head.headers["x-data-type"], head.headers["content-length"]) == (200, "file", size)
        assert re.match('"?[0-9a-f]{32}"?$', head.headers["etag"]) and head.headers["date"]
    assert curl(auth + "'%s'" % spaced).body == b"a=b&c"
    listing = curl(auth + "'%s?acl=true'" % directory)
    assert listing.headers["x-data-type"] == "directory"
    assert sorted((item["filename"], item["size"]) for item in listing.json["files"]) == [("a b+c", 5), ("f", 0)]
    assert listing.json["acl"] == {"read": ["algo://.my/*"]} and "folders" not in listing.json
    # Through the form of every other client it is the same file.
    for _, _, other in FORMS:
        assert curl(auth + "'%s'" % (DOCUMENTED + other % "c")).body == b"a=b&c"
    assert curl(auth + "-X DELETE '%s'" % plain).json == {"result": {"deleted": 1}}
    kept = curl(auth + "-X DELETE '%s'" % directory)
    assert 400 <= kept.status < 500 and kept.status not in (401, 404) and kept.message
    assert curl(auth + "-X DELETE '%s?force=true'" % directory).json == {"result": {"deleted": 1}}
    gone = curl(auth + "-I '%s'" % spaced)
    assert gone.status == 404 and gone.headers["x-error-message"]
    assert curl(auth + "-X DELETE '%s'" % directory).status == 404


def test_root_and_own_directory(curl, account):
    auth = "curl -H 'Authorization: Simple YOUR_API_KEY' "
    root = curl(auth + DOCUMENTED + "/v1/data/")
    assert root.headers["x-data-type"] == "directory" and root.json["folders"] == [{"name": account.name}]
    assert curl(auth + DOCUMENTED + "/v1/data/.my").json == {}
    posted = "-H 'Content-Type: application/json' -d '{\"name\": \"c\", \"acl\": {\"read\": []}}' "
    assert curl(auth + posted + DOCUMENTED + "/v1/data/%s" % account.name).result == "data://%s/c" % account.name
    for path in (".my", ".my/", account.name, "%2E" + "my"):
        assert curl(auth + DOCUMENTED + "/v1/data/" + path).json == {"folders": [{"name": "c"}]}
    (hosted,) = curl(auth + DOCUMENTED + "/v1/hostedData").result
    assert hosted["collection_name"] == "c" and hosted["username"] == account.name
    assert hosted["acl"]["read_w"] is False and hosted["acl"]["read_u"] is True


def test_uploads_in_every_manner_of_curl(curl, tmpdir):
    """With a length and in chunks, with and without `Expect: 100-continue`, over HTTP/1.1 and 1.0."""
    auth = "curl -H 'Authorization: Simple YOUR_API_KEY' "
    curl(auth + "-H 'Content-Type: application/json' -d '{\"name\": \"c\"}' %s/v1/data/.my" % DOCUMENTED)
    content = os.urandom(3 * 1024 * 1024)
    tmpdir.join("big").write_binary(content)
    url = DOCUMENTED + "/v1/data/.my/c/big"
    for options in (
        "-X PUT --data-binary @big",
        "-T big",
        "-T - <big",
        "-T big -H 'Transfer-Encoding: chunked'",
        "-T big -H 'Expect: 100-continue'",
        "-T big -H 'Expect:'",
        "-0 -T big",
    ):
        assert curl(auth + url + " -X DELETE").status in (200, 404)
        uploaded = curl(auth + url + " " + options)
        assert uploaded.json == {"result": "data://.my/c/big"}, options
        assert curl(auth + url).body == content, options


def test_a_call_in_chunks(curl, tmpdir):
    tmpdir.join("input").write_binary(b"x" * 3000000)
    answer = curl("""
        curl -X POST -H 'Authorization: Simple YOUR_API_KEY' -H 'Transfer-Encoding: chunked' \\
            --data-binary @input -H 'Content-Type: text/plain' \\
            'https://api.algorithmia.com/v1/algo/util/Echo?output=raw'
    """)
    assert answer.status == 200 and answer.body == b"x" * 3000000
