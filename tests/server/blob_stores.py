"""The blob stores that one suite of tests runs over: on a local disk, and in emulators of object stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from google_xml import XmlInterface
from storage_providers import Azurite, FakeGoogle, Moto

from Algorithmia.server.storage import locations
from Algorithmia.server.storage.base import BlobStore
from Algorithmia.server.storage.locations import Location

AZURITE_ACCOUNT = "devstoreaccount1"


class Place(ABC):
    """Where blobs of one test are: ``location`` of the store, what is there without it, and the way back in.

    tells_parts    whether `unfinished` knows
    removes_parts  whether a start removes what is left of uploads in parts
    """

    tells_parts = False
    removes_parts = False

    def __init__(self, state: Path) -> None:
        self.state = state

    @property
    @abstractmethod
    def location(self) -> Location: ...

    @abstractmethod
    def published(self) -> list[str]:
        """Paths of what the store holds, in order, asked without it."""

    @abstractmethod
    def put(self, path: str, content: bytes) -> None:
        """Put something there without the store."""

    @abstractmethod
    def get(self, path: str) -> bytes:
        """What is there, asked without the store."""

    def unfinished(self) -> int:
        """Uploads in parts that were begun and neither completed nor aborted, where that can be told."""
        return 0

    def leftovers(self) -> set[str]:
        """Paths of what the store keeps on the server's disk for what isn't published."""
        root = self.state / "blobs"
        return {
            str(path.relative_to(root))
            for folder in ("staging", "unsettled")
            for path in (root / folder).rglob("*")
            if path.is_file()
        }

    def open(self) -> BlobStore:
        """The store, as a server that starts opens it."""
        return locations.open_store(self.location, self.state)


class LocalPlace(Place):
    @property
    def location(self) -> Location:
        return Location()

    def published(self) -> list[str]:
        root = self.state / "blobs"
        found = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        return sorted(path for path in found if not path.startswith("staging/"))

    def put(self, path: str, content: bytes) -> None:
        target = self.state / "blobs" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def get(self, path: str) -> bytes:
        return (self.state / "blobs" / path).read_bytes()


class S3Place(Place):
    tells_parts = True
    removes_parts = True

    def __init__(self, state: Path, moto: Moto, prefix: str) -> None:
        super().__init__(state)
        self._moto, self._prefix = moto, prefix

    @property
    def location(self) -> Location:
        return Location("s3", "bucket", self._prefix)

    def published(self) -> list[str]:
        start = f"bucket/{self._prefix}/"
        return sorted(name.removeprefix(start) for name in self._moto.names(f"{self._prefix}/"))

    def put(self, path: str, content: bytes) -> None:
        self._moto.put(f"bucket/{self._prefix}/{path}", content)

    def get(self, path: str) -> bytes:
        return self._moto.get(f"bucket/{self._prefix}/{path}")

    def unfinished(self) -> int:
        return self._moto.unfinished()


class AzurePlace(Place):
    def __init__(self, state: Path, azurite: Azurite, prefix: str) -> None:
        super().__init__(state)
        self._azurite, self._prefix = azurite, prefix

    @property
    def location(self) -> Location:
        return Location("az", "container", self._prefix)

    def published(self) -> list[str]:
        return sorted(name.removeprefix(f"{self._prefix}/") for name in self._azurite.names(f"{self._prefix}/"))

    def put(self, path: str, content: bytes) -> None:
        self._azurite.put(f"{self._prefix}/{path}", content)

    def get(self, path: str) -> bytes:
        return self._azurite.get(f"{self._prefix}/{path}")


class Google(FakeGoogle):
    """Google Cloud Storage with the interface that the library of object stores speaks."""

    TOKEN = "TOKENEXAMPLE"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.xml = XmlInterface(self.host, self.TOKEN)

    def stop(self) -> None:
        self.xml.stop()
        super().stop()


class GooglePlace(Place):
    tells_parts = True

    def __init__(self, state: Path, google: Google, prefix: str) -> None:
        super().__init__(state)
        self._google, self._prefix = google, prefix

    @property
    def location(self) -> Location:
        return Location("gs", "bucket", self._prefix)

    def published(self) -> list[str]:
        start = f"bucket/{self._prefix}/"
        return sorted(name.removeprefix(start) for name in self._google.names(f"{self._prefix}/"))

    def put(self, path: str, content: bytes) -> None:
        self._google.put(f"bucket/{self._prefix}/{path}", content)

    def get(self, path: str) -> bytes:
        return self._google.get(f"bucket/{self._prefix}/{path}")

    def unfinished(self) -> int:
        start = f"bucket/{self._prefix}/"
        return sum(path.startswith(start) for path, _ in list(self._google.xml.uploads.values()))


def environment(provider: Any) -> dict[str, str]:
    """What a server's environment says about `provider`."""
    if isinstance(provider, Google):
        return {"GOOGLE_BASE_URL": f"http://{provider.xml.host}", "GOOGLE_BEARER_TOKEN": provider.TOKEN}
    if isinstance(provider, Azurite):
        from storage_providers import AZURITE_KEY

        return {
            "AZURE_STORAGE_ACCOUNT": AZURITE_ACCOUNT,
            "AZURE_STORAGE_KEY": AZURITE_KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://{provider.host}/{AZURITE_ACCOUNT}",
        }
    return {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "SECRETEXAMPLE",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{provider.host}",
    }
