"""`algo connectors`, and the SDK's methods below it, against the real platform."""
import json
import threading

import pytest

from Algorithmia import errors

try:
    from http.server import BaseHTTPRequestHandler, HTTPServer
except ImportError:
    from BaseHTTPServer import BaseHTTPRequestHandler, HTTPServer

SECRET = "very-secret-key"
IAM = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": SECRET}
BUCKETS = b"""<?xml version="1.0"?><ListAllMyBucketsResult><Buckets><Bucket><Name>first</Name></Bucket></Buckets>
</ListAllMyBucketsResult>"""


@pytest.fixture
def add(algo, server, new_account):
    """A function that runs ``algo connectors add s3 LABEL ...`` as an account of its own; it has `run`, for others."""
    account = new_account()
    environment = {"ALGORITHMIA_API_KEY": account.key, "ALGORITHMIA_API": server.address}

    def run(*arguments, **options):
        options["env"] = dict(environment, **options.get("env", {}))
        return algo("connectors", *arguments, **options)

    def make(label, *flags, **options):
        options.setdefault("stdin", json.dumps(IAM).encode("ascii"))
        done = run("add", "s3", label, *flags, **options)
        if "algorithmia[s3]" in done.stderr:
            pytest.skip("the platform's Python has no boto3")
        return done

    make.run = run
    make.client = account.client
    return make


def test_connectors_are_made_listed_and_removed(add):
    done = add("lab", "--path", "bucket/*", "--writeable", "--default")
    assert done.status == 0
    assert done.text == "Made connector s3+lab (read and write, bucket/*)\n"
    found = add.run("ls", "--json").json
    assert [(item["connector_id"], item["is_default"], item["writeable"]) for item in found] == [("s3+lab", True, True)]
    assert SECRET not in add.run("ls", "--json").text
    assert add.run("ls").text.splitlines()[-1].split() == ["s3+lab", "read,", "write", "bucket/*", "yes"]
    assert add.run("rm", "s3+lab").status == 0
    assert add.run("ls", "--json").json == []
    assert add.run("rm", "s3+lab").status == 4


def test_credentials_come_from_the_environment(add):
    environment = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
    assert add("env", "--from-env", env=environment, stdin=b"").status == 0
    environment["AWS_SECRET_ACCESS_KEY"] = ""
    done = add("env2", "--from-env", env=environment, stdin=b"")
    assert done.status == 2 and "AWS_SECRET_ACCESS_KEY" in done.stderr


@pytest.mark.parametrize("stdin", [b"", b"[]", b"not json " + SECRET.encode("ascii"), b'{"access_key_id": "x"}'])
def test_what_is_no_credentials_is_refused(add, stdin):
    done = add("lab", stdin=stdin)
    assert done.status in (1, 2) and SECRET not in done.stderr
    assert add.run("ls", "--json").json == []


def test_an_unknown_protocol_is_refused(add):
    done = add.run("add", "ftp", "lab", stdin=b"{}")
    assert done.status == 2 and "azureblob, dropbox, gs, s3" in done.stderr


def test_servers_inside_are_refused(add):
    done = add("lab", "--endpoint", "http://169.254.169.254")
    assert done.status == 1 and "own network" in done.stderr


def test_the_sdk_manages_connectors(add):
    client = add.client
    try:
        made = client.create_connector("s3", "lab", IAM, path="bucket/*")
    except errors.ApiError as problem:
        if "algorithmia[s3]" in str(problem):
            pytest.skip("the platform's Python has no boto3")
        raise
    assert (made.connector_id, made["writeable"]) == ("s3+lab", False)
    assert client.edit_connector("s3+lab", writeable=True, is_default=True)["permissions"] == ["read", "write"]
    assert client.connector("s3")["connector_id"] == "s3+lab"
    assert [item["label"] for item in client.connectors()] == ["lab"]
    client.delete_connector("s3+lab")
    with pytest.raises(errors.NotFoundError):
        client.connector("s3+lab")


class Handler(BaseHTTPRequestHandler):
    """As much of S3 as a list of buckets is."""

    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(BUCKETS)))
        self.end_headers()
        self.wfile.write(BUCKETS)

    def log_message(self, *arguments):
        pass


def test_a_connector_is_tested_and_listed(start_server):
    storage = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=storage.serve_forever)
    thread.start()
    try:
        address = "127.0.0.1:%d" % storage.server_address[1]
        client = start_server(environment={"ALGORITHMIA_CONNECTOR_HOSTS": address}).client()
        try:
            client.create_connector("s3", "lab", IAM, endpoint="http://" + address)
        except errors.ApiError as problem:
            if "algorithmia[s3]" in str(problem):
                pytest.skip("the platform's Python has no boto3")
            raise
        client.test_connector("s3+lab")
        assert [found.path for found in client.dir("s3+lab://").dirs()] == ["s3+lab://first"]
        with pytest.raises(errors.PermissionDeniedError):
            client.file("s3+lab://first/f").put("x")
        Handler.status = 403
        with pytest.raises(errors.PermissionDeniedError):
            client.test_connector("s3+lab")
    finally:
        storage.shutdown()
        thread.join()
        storage.server_close()
