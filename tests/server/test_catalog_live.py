"""The walkthrough of the documents with the bundled algorithms, on a platform that builds them as it comes to them."""

from __future__ import annotations

import io
import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from platforms import Completed, Server

from Algorithmia import config
from Algorithmia.errors import AlgorithmException

data = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
Image = pytest.importorskip("PIL.Image")
numpy = pytest.importorskip("numpy")

APPLES = {"docsList": ["It's apple picking season", "The apples are ready for picking"]}
GREEN = (0, 255, 0)
# Where the astronaut's face is in the photograph, roughly.
FACE = {"left": 175, "top": 66, "right": 272, "bottom": 163}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A platform that nobody has called yet."""
    found = Server(tmp_path_factory.mktemp("platform"))
    yield found
    found.stop()


@pytest.fixture
def run(algo: Callable[..., Completed], platform: Server, tmp_path: Path) -> Callable[..., Completed]:
    """The command line of a person whose platform this is, in a directory with a photograph: friends.jpg."""
    path = os.path.join(algo.home, ".algorithmia", "config")  # type: ignore[attr-defined]
    config.save_profile("default", config.Profile(platform.key, platform.address), path)
    (tmp_path / "friends.jpg").write_bytes(photograph("JPEG"))
    return lambda *arguments: algo(*arguments, cwd=tmp_path, timeout=300)


def photograph(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, form, **({"quality": 95} if form == "JPEG" else {}))
    return buffer.getvalue()


def is_near(found: dict[str, int], expected: dict[str, int]) -> bool:
    return set(found) == set(expected) and all(abs(found[side] - expected[side]) <= 12 for side in expected)


def boxed(pixels: Any, face: dict[str, int]) -> bool:
    """Whether all four sides of `face` are drawn in green."""
    left, top, right, bottom = (face[side] for side in ("left", "top", "right", "bottom"))
    lines = (pixels[top, left:right], pixels[bottom, left:right], pixels[top:bottom, left], pixels[top:bottom, right])
    return all((line == GREEN).all() for line in lines)


def test_topics_and_faces_as_the_documents_walk_through_them(run: Callable[..., Completed], tmp_path: Path) -> None:
    done = run("run", "nlp/LDA/1.0.0", "-j", json.dumps(APPLES))
    assert done.status == 0, done
    topics = done.json
    assert 2 <= len(topics) <= 4 and all(topics)
    words: dict[str, int] = {}
    for topic in topics:
        for word, count in topic.items():
            words[word] = words.get(word, 0) + count
    assert words == {"picking": 2, "apple": 1, "apples": 1, "ready": 1, "season": 1}
    assert "Building nlp/LDA" in done.stderr and "scikit-learn" in done.stderr

    assert run("mkdir", ".my/img_directory").status == 0
    assert run("cp", "./friends.jpg", "data://.my/img_directory").status == 0
    image = {"url": "data://.my/img_directory/friends.jpg", "output": "data://.algo/temp/detected_faces.png"}
    done = run("run", "dlib/FaceDetection/0.2.1", "-j", json.dumps({"images": [image]}))
    assert done.status == 0, done
    [result] = done.json["images"]
    [face] = result["detected_faces"]
    assert is_near(face, FACE)
    assert result["imageDimensions"] == {"height": 512, "width": 512}
    assert result["url"] == result["output"] == "data://.algo/temp/detected_faces.png"

    done = run("cp", "data://.algo/dlib/FaceDetection/temp/detected_faces.png", "./detected_faces.png")
    assert done.status == 0, done
    with Image.open(tmp_path / "detected_faces.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 512))
        pixels = numpy.asarray(picture.convert("RGB"))
    assert boxed(pixels, face)
    original = numpy.asarray(Image.open(tmp_path / "friends.jpg").convert("RGB")).astype(int)
    # Apart from the box it is the photograph (decoders may round differently).
    assert (abs(pixels.astype(int) - original).max(axis=2) > 8).mean() < 0.02


def test_built_once_and_for_all(platform: Server) -> None:
    client = platform.client()
    for name in ("nlp/LDA", "dlib/FaceDetection"):
        try:
            client.algo(name).pipe({})
        except AlgorithmException as error:
            assert error.error_type == "InputError"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.algo("nlp/LDA").pipe(APPLES).result, range(16)))
    assert all(answer == answers[0] for answer in answers)
    for name in ("nlp/LDA", "dlib/FaceDetection"):
        builds = client.algo(name).get_builds(10)["results"]
        assert [build["status"] for build in builds] == ["succeeded"]


def test_documents_of_every_kind(platform: Server) -> None:
    client = platform.client()
    client.dir("data://.my/texts").create()
    football = "the striker scored a goal and the goalkeeper saved a penalty in the match"
    politics = "the senate voted on a tax and the president lost the election"
    lines = ([football] * 10 + [politics] * 10)
    client.file("data://.my/texts/list.json").put(json.dumps(lines))
    client.file("data://.my/texts/lines.txt").put("\n".join(lines))
    client.file("data://.my/texts/one.txt").put(politics)
    two = {"customSettings": {"numTopics": 2, "numWords": 3}, "mode": "quality"}
    ask = client.algo("nlp/LDA/1.0.0").pipe
    expected = ask(dict(two, docsList=lines)).result
    assert ask(dict(two, docsList="data://.my/texts/list.json")).result == expected
    assert ask(dict(two, docsList="data://.my/texts/lines.txt")).result == expected
    assert ask(dict(two, docsList=lines[:19] + ["data://.my/texts/one.txt"])).result == expected
    assert len(expected) == 2 and all(len(topic) == 3 for topic in expected)
    assert not set(expected[0]) & set(expected[1])
    shorter = ask(dict(docsList=[football, politics], stopWordsList=["Striker", "senate"])).result
    assert not {"striker", "senate"} & {word for topic in shorter for word in topic}


@pytest.mark.parametrize(
    "algorithm, given, message",
    [
        ("nlp/LDA", None, "docsList"),
        ("nlp/LDA", {"docsList": []}, "no text"),
        ("nlp/LDA", {"docsList": ["the and of"]}, "stop words"),
        ("nlp/LDA", {"docsList": [7]}, "docsList[0]"),
        ("nlp/LDA", {"docsList": "just a text"}, "data URI"),
        ("nlp/LDA", {"docsList": "data://.my/nowhere/x.txt"}, "can't be read"),
        ("nlp/LDA", {"docsList": ["a"] * 20001}, "20000"),
        ("nlp/LDA", {"docsList": ["fine"], "mode": "best"}, "speed"),
        ("nlp/LDA", {"docsList": ["fine"], "customSettings": {"numTopics": 1000}}, "numTopics"),
        ("nlp/LDA", {"docsList": ["fine"], "numTopics": 3}, "numTopics"),
        ("dlib/FaceDetection", {}, "images"),
        ("dlib/FaceDetection", {"images": []}, "empty"),
        ("dlib/FaceDetection", {"images": [{"output": "data://.my/x.png"}]}, "url"),
        ("dlib/FaceDetection", {"images": ["data://.my/nowhere/x.png"]}, "can't be read"),
        ("dlib/FaceDetection", {"images": ["/etc/passwd"]}, "neither"),
        ("dlib/FaceDetection", {"images": ["file:///etc/passwd"]}, "neither"),
        ("dlib/FaceDetection", {"images": ["ftp://127.0.0.1/x.png"]}, "neither"),
        ("nlp/LDA", {"docsList": "file:///etc/passwd"}, "data URI"),
        ("dlib/FaceDetection", {"images": [{"url": "data://.my/x.png", "output": "data://.my/x.exe"}]}, "must end in"),
        ("dlib/FaceDetection", {"images": [{"url": "data://.my/x.png", "output": "file:///tmp/x.png"}]}, "data URI"),
        ("dlib/FaceDetection", {"images": ["data://.my/x.png"] * 21}, "21 images"),
        ("dlib/FaceDetection", {"images": ["http://127.0.0.1:1/x.png"]}, "hosted data"),
        ("dlib/FaceDetection", {"images": ["http://169.254.169.254/latest/meta-data/"]}, "hosted data"),
        ("nlp/LDA", {"docsList": ["http://localhost:1/", "text"]}, "hosted data"),
        ("nlp/LDA", {"docsList": "http://[::1]:1/x.txt"}, "hosted data"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason(
    platform: Server, algorithm: str, given: Any, message: str
) -> None:
    with pytest.raises(AlgorithmException) as caught:
        platform.client().algo(algorithm).pipe(given)
    assert caught.value.error_type == "InputError" and message in str(caught.value)


# -- pictures -----------------------------------------------------------------------------------------------------


def claiming(width: int, height: int) -> bytes:
    """A small PNG that decodes to a picture of that size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width * 3 + 1)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_pictures_of_several_formats(platform: Server) -> None:
    client = platform.client()
    client.dir("data://.my/marked").create()
    client.file("data://.my/marked/astronaut.png").put(photograph("PNG"))
    client.file("data://.my/marked/untyped").put(photograph("JPEG"))
    images = [
        {"url": "data://.my/marked/astronaut.png", "output": "data://.my/marked/face.jpg"},
        {"url": "data://.my/marked/untyped"},
    ]
    first, second = client.algo("dlib/FaceDetection").pipe({"images": images}).result["images"]
    for result in (first, second):
        [face] = result["detected_faces"]
        assert is_near(face, FACE)
    assert first["output"] == "data://.my/marked/face.jpg"
    assert second["url"] == "data://.my/marked/untyped" and "output" not in second
    marked = Image.open(io.BytesIO(client.file("data://.my/marked/face.jpg").getBytes()))
    assert (marked.format, marked.size) == ("JPEG", (512, 512))
    single = client.algo("dlib/FaceDetection").pipe({"images": "data://.my/marked/astronaut.png"}).result
    assert single["images"][0]["detected_faces"] == first["detected_faces"]


def test_no_face_and_many(platform: Server) -> None:
    client = platform.client()
    client.dir("data://.my/groups").create()
    portrait = Image.fromarray(data.astronaut()).crop((0, 0, 460, 512))
    group = Image.new("RGB", (4 * 480, 900), (90, 120, 160))
    for position in range(4):
        group.paste(portrait, (10 + position * 480, 200))
    cat = Image.fromarray(data.chelsea())
    for name, picture in (("group", group), ("cat", cat), ("large", group.resize((5760, 2700)))):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        client.file(f"data://.my/groups/{name}.png").put(buffer.getvalue())
    images = [
        {"url": f"data://.my/groups/{name}.png", "output": f"data://.my/groups/{name}_marked.webp"}
        for name in ("group", "cat", "large")
    ]
    results = client.algo("dlib/FaceDetection").pipe({"images": images}).result["images"]
    found = [result["detected_faces"] for result in results]
    assert [len(faces) for faces in found] == [4, 0, 4]
    for position, face in enumerate(found[0]):
        assert abs(face["left"] - (FACE["left"] + 10 + position * 480)) < 15 and abs(face["top"] - 266) < 15
    assert all(abs(large["right"] - 3 * small["right"]) < 45 for small, large in zip(found[0], found[2]))
    marked = Image.open(io.BytesIO(client.file("data://.my/groups/large_marked.webp").getBytes()))
    assert (marked.format, marked.size) == ("WEBP", (5760, 2700))


def test_what_is_no_picture_is_refused(platform: Server) -> None:
    client = platform.client()
    client.dir("data://.my/refused").create()
    for name, content, message in (
        ("lie.png", b"<html>no picture</html>", "not an image"),
        ("bomb.png", claiming(9000, 9000), "50 million pixels"),
        ("large.png", bytes(25 * 2**20 + 1), "larger than 25 MB"),
    ):
        client.file(f"data://.my/refused/{name}").put(content)
        with pytest.raises(AlgorithmException) as caught:
            client.algo("dlib/FaceDetection").pipe({"images": [f"data://.my/refused/{name}"]})
        assert caught.value.error_type == "InputError" and message in str(caught.value)


# -- first use that goes wrong -----------------------------------------------------------------------------------


def test_a_first_use_without_its_packages_says_so_each_time(start_server: Callable[..., Server]) -> None:
    nowhere = "http://127.0.0.1:1/simple"
    client = start_server(environment={"UV_INDEX_URL": nowhere, "PIP_INDEX_URL": nowhere}).client()
    began = []
    for _ in range(2):
        with pytest.raises(AlgorithmException) as caught:
            client.algo("nlp/LDA").pipe(APPLES)
        assert "can't be built" in str(caught.value) and "127.0.0.1:1" in str(caught.value)
        [build] = client.algo("nlp/LDA").get_builds(10)["results"]
        assert build["status"] == "failed"
        began.append(build["started_at"])
    assert began[0] < began[1]
    assert client.algo("demo/Hello").pipe("HAL 9000").result == "Hello HAL 9000"


def test_a_first_use_that_a_power_cut_ends_is_made_again(start_server: Callable[..., Server]) -> None:
    first = start_server()
    client = first.client(retries=0)
    algorithm = client.algo("dlib/FaceDetection")
    assert algorithm.get_builds(1)["results"] == []
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(algorithm.pipe, {})
        while not algorithm.get_builds(1)["results"]:
            time.sleep(0.05)
        first.kill()
        assert call.exception() is not None
    second = start_server(home=first.home)
    algorithm = second.client().algo("dlib/FaceDetection")
    assert algorithm.get_builds(1)["results"] == []
    with pytest.raises(AlgorithmException) as caught:
        algorithm.pipe({})
    assert caught.value.error_type == "InputError"
    assert [build["status"] for build in algorithm.get_builds(10)["results"]] == ["succeeded"]
    second.stop()
    third = start_server(home=first.home)
    with pytest.raises(AlgorithmException) as caught:
        third.client().algo("dlib/FaceDetection").pipe({})
    assert caught.value.error_type == "InputError"
    assert [build["status"] for build in third.client().algo("dlib/FaceDetection").get_builds(10)["results"]] == [
        "succeeded"
    ]
    assert '"level":"error"' not in third.log()
