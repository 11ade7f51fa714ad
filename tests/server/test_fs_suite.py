"""fsspec's own test suite for file systems, on hosted data and on an S3 connector."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from platforms import Server
from storage_providers import running

pytest.importorskip("fsspec", reason="file systems need fsspec")
abstract = pytest.importorskip("fsspec.tests.abstract", reason="this fsspec comes without its test suite")

HOSTED = "data/.my/suite"
_names = itertools.count(1)


@pytest.fixture(scope="module", params=["data", "s3"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A platform, and where on it there is room."""
    home = tmp_path_factory.mktemp("platform")
    if request.param == "data":
        platform = Server(home)
        platform.client().dir("data://.my/suite").create()
        yield platform, HOSTED
        platform.stop()
        return
    for provider in running("s3", tmp_path_factory.mktemp("emulator")):
        platform = Server(home, "--port", "0", "--connector-hosts", provider.host)
        body = provider.body
        platform.client().create_connector(
            body["protocol"], "lab", body["cred_data"], writeable=True, endpoint=body["endpoint"]
        )
        yield platform, "s3+lab/bucket"
        platform.stop()


@pytest.fixture(autouse=True)
def _some_patterns_on_hosted_data_only(request: pytest.FixtureRequest, place: tuple[Server, str]) -> None:
    """A hundred tests of patterns differ in nothing that the emulator has a part in, and it is slow."""
    if "glob_edge_cases" in request.node.name and place[1] != HOSTED and not os.environ.get("ALGORITHMIA_TEST_ALL"):
        pytest.skip("patterns are tried on hosted data; ALGORITHMIA_TEST_ALL=1 tries them on S3, too")


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, place: tuple[Server, str]) -> Any:
        return place[0].client().fs()

    @pytest.fixture
    def fs_path(self, place: tuple[Server, str]) -> str:
        return f"{place[1]}/t{next(_names)}"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc]
    pass
