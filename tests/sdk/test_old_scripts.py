# -*- coding: utf-8 -*-
"""Scripts as people wrote them for the old client, unchanged, as processes with this SDK against the platform.

A script's key is `YOUR_API_KEY` as in the documents; only that is replaced. The address comes from the environment.
"""
import io
import subprocess
import sys
import textwrap

import pytest
from platforms import ROOT, clean_environment


@pytest.fixture
def account(new_account):
    """An account of this test's own, so that scripts can name their collections as they like."""
    return new_account()


@pytest.fixture
def script(server, account, tmpdir):
    """A function that runs a script in `tmpdir` and returns the lines that it printed."""

    def run(source, **variables):
        path = str(tmpdir.join("script.py"))
        with io.open(path, "w", encoding="utf-8") as handle:
            text = textwrap.dedent(source).lstrip("\n").replace(u"YOUR_API_KEY", account.key)
            handle.write(u"# -*- coding: utf-8 -*-\nfrom __future__ import print_function\n" + text)
        environment = clean_environment(tmpdir)
        environment.update(PYTHONPATH=ROOT, PYTHONIOENCODING="utf-8", ALGORITHMIA_API=server.address, **variables)
        environment["PYTHONWARNINGS"] = "ignore"
        process = subprocess.Popen(
            [sys.executable, path], env=environment, cwd=str(tmpdir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr.decode("utf-8", "replace")
        return stdout.decode("utf-8").splitlines()

    return run


def test_the_first_call_of_the_documents(script):
    lines = script(u"""
        import Algorithmia

        input = "YOUR_NAME"
        client = Algorithmia.client('YOUR_API_KEY')
        # Pass in the unique algoUrl path found on each algorithm description page.
        algo = client.algo('demo/Hello/')
        # Calls an algorithm with the input provided.
        result = algo.pipe(input)

        # If you are using the 1.0+ client you can access both the output and the metadata.
        print(result.result)
        print(result.metadata)
        print(result)
    """)
    assert lines[0] == "Hello YOUR_NAME"
    assert lines[1].startswith("Metadata(content_type='text',duration=") and lines[1].endswith(",stdout=None)")
    assert lines[2].startswith("AlgoResponse(result=") and "YOUR_NAME" in lines[2]


def test_without_a_client(script, account):
    lines = script(u"""
        import Algorithmia
        Algorithmia.apiKey = 'YOUR_API_KEY'
        print(Algorithmia.algo('demo/Hello').pipe('HAL').result)
        print(Algorithmia.dir('data://.my/nothing').exists())
        print(Algorithmia.file('data://.my/nothing/here').exists())
    """)
    assert lines == ["Hello HAL", "False", "False"]
    from_environment = u"""
        import Algorithmia
        print(Algorithmia.client().algo('demo/Hello').pipe('HAL').result)
    """
    assert script(from_environment, ALGORITHMIA_API_KEY=account.key) == ["Hello HAL"]


def test_text_json_and_binary(script, tmpdir):
    tmpdir.join("image.png").write_binary(b"\x89PNG\r\n\x1a\n\x00\xff")
    lines = script(u"""
        import Algorithmia
        client = Algorithmia.client('YOUR_API_KEY')
        algo = client.algo('util/Echo/0.1.0')
        response = algo.pipe([1, 2, 3])
        print(response.result[0] + response.result[-1], response.metadata.content_type)
        response = algo.pipe({"name": "Grace", "year": 1906})
        print(response.result["name"], response.result["year"])
        image = bytearray(open("image.png", "rb").read())
        response = algo.pipe(image)
        print(response.result == bytes(image), type(response.result) is bytes, response.metadata.content_type)
        with open("copy.png", "wb") as f:
            f.write(response.result)
        print(response.metadata['duration'] == response.metadata.duration)
    """)
    assert lines == ["4 json", "Grace 1906", "True True binary", "True"]
    assert tmpdir.join("copy.png").read_binary() == b"\x89PNG\r\n\x1a\n\x00\xff"


def test_request_options(script):
    lines = script(u"""
        import Algorithmia
        from Algorithmia.algorithm import OutputType
        client = Algorithmia.client('YOUR_API_KEY')
        algo = client.algo('util/Print')
        algo.set_options(timeout=60, stdout=True)
        response = algo.pipe("printed")
        print(response.metadata.stdout.split()[0])
        response = client.algo('util/Print').set_options(timeout=60, stdout=False).pipe("printed")
        print(response.metadata.stdout)
        print(client.algo('util/Echo').set_options(output=OutputType.raw).pipe("raw"))
        response = client.algo('util/Echo').set_options(output=OutputType.void).pipe("unseen")
        print(response.async_protocol, response.request_id[:4])
        try:
            client.algo('util/Sleep').set_options(timeout=1).pipe(30)
        except Exception as e:
            print(type(e).__name__ != "NameError", 'timed-out' in str(e))
    """)
    assert lines == ["printed", "None", "raw", "void req-", "True True"]


def test_errors_are_caught_by_their_old_names(script):
    lines = script(u"""
        import Algorithmia
        from Algorithmia.errors import AlgorithmException, ApiError, ApiInternalError, DataApiError

        client = Algorithmia.client('YOUR_API_KEY')
        try:
            client.algo('util/whoopsWrongAlgo').pipe('Hello, world!')
        except Exception as e:
            print(e)
        try:
            client.algo('util/Fail').pipe({'message': 'no such thing', 'error_type': 'UnsupportedError'})
        except AlgorithmException as error:
            print(error.message, error.error_type, str(error).splitlines()[0])
        try:
            client.algo('util/Fail').pipe('plain')
        except ApiError as error:
            print(error.message)
        try:
            client.file('data://.my/nothing/here').getString()
        except DataApiError as error:
            print('data:', 'unable to get file .my/nothing/here' in str(error))
        try:
            client.file('data://.my/nothing/here').put('x')
        except Algorithmia.errors.ApiError as error:
            print('api')
        try:
            client.dir('data://.my/nothing').delete()
        except DataApiError:
            print('delete')
        try:
            for item in client.dir('data://.my/nothing').list():
                print(item)
        except DataApiError:
            print('list')
        try:
            client.algo('nonsense')
        except ValueError as error:
            print(str(error))
        try:
            Algorithmia.client('simWRONGWRONGWRONGWRONGWRONG').algo('demo/Hello').pipe('x')
        except Exception as error:
            print('refused')
        try:
            raise AlgorithmException('made by hand')
        except Exception as error:
            print(error)
    """)
    assert "whoopsWrongAlgo" in lines[0] and "not found" in lines[0]
    assert lines[1:] == [
        "no such thing UnsupportedError 'no such thing'",
        "plain",
        "data: True",
        "api",
        "delete",
        "list",
        "Invalid algorithm URI: nonsense",
        "refused",
        "'made by hand'",
    ]


def test_directories_and_files(script, account, tmpdir):
    tmpdir.join("robot.jpg").write_binary(b"\xff\xd8\x00\x01")
    tmpdir.join("Optimus_Prime.txt").write("Autobots, roll out!\nAnd again.\n")
    lines = script(u"""
        import Algorithmia
        client = Algorithmia.client('YOUR_API_KEY')

        # Instantiate a DataDirectory object, set your data URI and call create
        nlp_directory = client.dir("data://.my/nlp_directory")
        # Create your data collection if it does not exist
        if nlp_directory.exists() is False:
            nlp_directory.create()

        text_file = "data://.my/nlp_directory/jack_london.txt"
        # Upload local file
        client.file(text_file).putFile("Optimus_Prime.txt")
        if client.file(text_file).exists() is True:
            input = client.file(text_file).getString()
            print(input.splitlines()[0])

        foo = client.dir("data://.my/nlp_directory")
        foo.file("T-800.json").putJson({"robot": "T-800"})
        print(foo.file("T-800.json").getJson()["robot"])
        foo.file("Terminator.txt").put("sample text file contents")
        print(foo.file("Terminator.txt").getString())
        foo.file("robot.jpg").putFile("robot.jpg")
        print(len(foo.file("robot.jpg").getBytes()))
        foo.file("bytes").put(bytearray(b"\\x00\\x01") and b"\\x00\\x01")
        print(foo.file("bytes").getBytes() == b"\\x00\\x01")

        for file in foo.files():
            print(file.path + " " + file.url + " " + str(file.size) + " " + str(file.last_modified.year > 2000))
        for dir in client.dir("data://.my").dirs():
            print(dir.path, dir.url)
        for item in foo.list():
            if item.is_file() and not item.is_dir():
                print(item.getName())

        sample = client.file("data://.my/nlp_directory/Terminator.txt")
        if sample.exists():
            sample.delete()
        print(sample.exists())
        foo.delete(True)
        print(foo.exists(), client.username())
    """)
    path = ".my/nlp_directory/"
    sizes = [("Terminator.txt", 25), ("bytes", 2), ("jack_london.txt", 31), ("robot.jpg", 4)]
    assert lines[:5] == ["Autobots, roll out!", "T-800", "sample text file contents", "4", "True"]
    names = [name for name, _ in sizes] + ["T-800.json"]
    listed = sorted(line.split() for line in lines[5:10])
    assert [line[0] for line in listed] == sorted(path + name for name in names)
    assert all(url == "/v1/data/" + name and recent == "True" for name, url, _, recent in listed)
    assert {(line[0][len(path):], int(line[2])) for line in listed} >= set(sizes)
    assert lines[10] == ".my/nlp_directory /v1/data/.my/nlp_directory"
    assert sorted(lines[11:16]) == sorted(names)
    assert lines[16:] == ["False", "False " + account.name]


def test_files_as_local_files(script, tmpdir):
    """What algorithms did with images and models: a path, or a file object, of a downloaded file."""
    tmpdir.join("image.png").write_binary(b"\x89PNG\r\n\x1a\n\x00\xff")
    lines = script(u"""
        import Algorithmia
        import os
        client = Algorithmia.client('YOUR_API_KEY')
        client.dir("data://.my/images").create()
        client.file("data://.my/images/image.png").putFile("image.png")
        client.file("data://.my/images/lines.txt").put("one\\ntwo\\nthree\\n")

        img = client.file("data://.my/images/image.png").getFile()
        with open(img.name, 'rb') as f:
            print(len(f.read()), os.path.exists(img.name))
        img_path = client.file("data://.my/images/image.png").getFile().name
        print(open(img_path, 'rb').read(4) == b"\\x89PNG")
        path = client.file("data://.my/images/image.png").getFile(as_path=True)
        print(open(path, 'rb').read() == open("image.png", "rb").read())

        print(client.file("data://.my/images/lines.txt").getFile().read().split())
        for line in client.file("data://.my/images/lines.txt").getFile():
            print(line.strip())
        with client.file("data://.my/images/lines.txt").getFile() as f:
            print(len(f.readlines()))
        print(client.file("data://.my/images/lines.txt").get().content == b"one\\ntwo\\nthree\\n")
        print(client.file("data://.my/images/lines.txt").get().text.split()[1])

        found = client.dir("data://.my/images").getDir()
        print(sorted(os.listdir(found)))
        client.dir("data://.my/images").delete(force=True)
    """)
    lines = [line.replace("u'", "'") for line in lines]
    assert lines == [
        "10 True", "True", "True", "['one', 'two', 'three']", "one", "two", "three", "3", "True", "two",
        "['image.png', 'lines.txt']",
    ]


def test_files_as_streams(script):
    lines = script(u"""
        import Algorithmia
        import json
        client = Algorithmia.client('YOUR_API_KEY')
        client.dir("data://.my/streams").create()
        client.file("data://.my/streams/data.json").putJson({"a": [1, 2]})
        client.file("data://.my/streams/lines.txt").put("one\\ntwo\\n")
        print(json.load(client.file("data://.my/streams/data.json"))["a"])
        with client.file("data://.my/streams/lines.txt") as f:
            print(len(f.readlines()))
        f = client.file("data://.my/streams/lines.txt")
        print(f.readable(), f.seekable(), f.writable(), f.seek(4), len(f.read()))
    """)
    assert lines == ["[1, 2]", "2", "True True False 4 4"]


def test_permissions(script, server, new_account, account):
    lines = script(u"""
        import Algorithmia
        from Algorithmia.acl import Acl, AclType, ReadAcl

        client = Algorithmia.client('YOUR_API_KEY')
        # Create a directory with a private ACL
        nlp_directory = client.dir("data://.my/acls")
        nlp_directory.create(ReadAcl.private)
        acl = nlp_directory.get_permissions()
        print(acl.read_acl == AclType.private)
        # Update your data collection so that everybody can read it
        nlp_directory.update_permissions(ReadAcl.public)
        print(nlp_directory.get_permissions().read_acl == AclType.public)
        nlp_directory.update_permissions(Acl(AclType.my_algos))
        print(nlp_directory.get_permissions().read_acl is AclType.default)
        print(nlp_directory.get_permissions().read_acl)
        client.dir("data://.my/defaults").create()
        print(client.dir("data://.my/defaults").get_permissions().read_acl == AclType.my_algos)
        print(ReadAcl.public.to_api_param(), AclType.public.acl_string)
        open_directory = client.dir("data://.my/opened")
        open_directory.create(ReadAcl.public)
        open_directory.file("f").put("for all")
    """)
    lines[5] = lines[5].replace("u'", "'")
    assert lines == [
        "True",
        "True",
        "True",
        "AclType(pseudonym=my_algos,acl_string=algo://.my/*)",
        "True",
        "{'read': ['user://*']} user://*",
    ]
    assert new_account().client.file("data://%s/opened/f" % account.name).getString() == "for all"


def test_local_files_behind_the_same_names(script, tmpdir):
    tmpdir.join("model.json").write('{"weights": [1, 2]}')
    lines = script(u"""
        import Algorithmia
        import os
        client = Algorithmia.client('YOUR_API_KEY')
        uri = "file://" + os.path.abspath("model.json")
        print(client.file(uri).exists(), client.file(uri).getJson()["weights"], client.file(uri).getName())
        print(open(client.file(uri).getFile().name).read() == client.file(uri).getString())
        folder = client.dir("file://" + os.path.abspath("made"))
        folder.create()
        folder.file("f").put("x")
        print(folder.exists(), list(folder.list()), folder.file("f").getBytes() == b"x")
    """)
    assert lines == ["True [1, 2] model.json", "True", "True ['f'] True"]


def test_an_algorithm_tried_out_by_hand(script, account, tmpdir):
    """An algorithm's source with a client at its top, imported by its author."""
    source = tmpdir.mkdir("src")
    source.join("__init__.py").write("")
    source.join("algorithm.py").write(textwrap.dedent("""
        import Algorithmia
        client = Algorithmia.client()

        def apply(input):
            if not isinstance(input, dict):
                raise Exception("expected an object")
            return client.algo("demo/Hello").pipe(input["name"]).result
    """))
    lines = script(
        u"""
        from src import algorithm
        print(algorithm.apply({"name": "from an algorithm"}))
        try:
            algorithm.apply("text")
        except Exception as e:
            print(e)
        """,
        ALGORITHMIA_API_KEY=account.key
    )
    assert lines == ["Hello from an algorithm", "expected an object"]
