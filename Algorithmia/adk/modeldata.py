"""`ModelData`: what `load` is given. The model files of the manifest, and whatever `load` keeps there for `apply`.

Facts: "Model manifest" of the runtime document.
"""
import json
import os
from collections import OrderedDict

from .._compat import string_types

_hidden_frames = True


class ManifestError(Exception):
    """The manifest, or a file that it names, is not what it should be."""

    error_type = "LoadingError"


class ModelData(object):
    """Model files by name, and user items: ``data["key"] = value``.

    client_source  a `Client`, or a function that makes one when the first file is fetched
    manifest_path  the manifest; the freeze file beside it (``.freeze`` added) is used when there is one

    Nothing is read before `initialize` or the first `get_model`.
    """

    def __init__(self, client_source, manifest_path="model_manifest.json"):
        # type: (object, str) -> None
        self._client_source = client_source
        self._manifest_path = manifest_path
        self._frozen_path = manifest_path + ".freeze"
        self._manifest = None  # type: object
        self._models = {}  # type: dict
        self._items = {}  # type: dict

    @property
    def client(self):
        # type: () -> object
        """The client that fetches the files."""
        if callable(self._client_source):
            self._client_source = self._client_source()
        return self._client_source

    @property
    def using_frozen(self):
        # type: () -> bool
        """Whether the freeze file is the one in force."""
        return os.path.exists(self._frozen_path)

    def available(self):
        # type: () -> bool
        """Whether there is a manifest, frozen or not."""
        return self.using_frozen or os.path.exists(self._manifest_path)

    def initialize(self):
        # type: () -> None
        """Fetch every required file. Raises ManifestError, and the errors of reading data."""
        for entry in self._entries("required_files"):
            self._fetch(entry)

    def get_model(self, name):
        # type: (str) -> str
        """Local path of the model file `name`; an optional file is fetched the first time.

        Raises ManifestError for a name that the manifest lacks, or a file that was tampered with.
        """
        if name not in self._models:
            for group in ("required_files", "optional_files"):
                for entry in self._entries(group):
                    if entry["name"] == name:
                        self._fetch(entry)
                        return self._models[name]
            raise ManifestError("model name %s not found in manifest" % name)
        return self._models[name]

    def data(self):
        # type: () -> dict
        """The user items."""
        return dict(self._items)

    def __getitem__(self, key):
        # type: (object) -> object
        try:
            return self._items[key]
        except KeyError:
            raise AttributeError("model data has no item %r" % (key,))  # the exception that algorithms expect

    def __setitem__(self, key, value):
        # type: (object, object) -> None
        self._items[key] = value

    def __contains__(self, key):
        # type: (object) -> bool
        return key in self._items

    def _entries(self, group):
        # type: (str) -> list
        if self._manifest is None:
            self._manifest = self._read()
        return self._manifest.get(group) or []  # type: ignore[attr-defined]

    def _read(self):
        # type: () -> dict
        frozen = self.using_frozen
        path = self._frozen_path if frozen else self._manifest_path
        if not os.path.exists(path):
            raise ManifestError("there is no %s in the project" % self._manifest_path)
        with open(path, "rb") as handle:
            try:
                manifest = json.loads(handle.read().decode("utf-8"), object_pairs_hook=OrderedDict)
            except ValueError as error:
                raise ManifestError("%s is not valid JSON: %s" % (path, error))
        if frozen:
            from .lock import lock_checksum

            expected = manifest.get("lock_checksum")
            if lock_checksum(manifest) != expected:
                raise ManifestError(
                    "Manifest FreezeFile Tamper Detected; please use the CLI and 'algo freeze' to rebuild the "
                    "algorithm's freeze file."
                )
        _check(manifest, path)
        return manifest  # type: ignore[no-any-return]

    def _fetch(self, entry):
        # type: (dict) -> None
        name = entry["name"]
        with self.client.file(entry["source_uri"]).getFile() as handle:  # type: ignore[attr-defined]
            path = handle.name
        # Only a freeze file knows what to expect, and old ones lack it for optional files.
        expected = entry.get("md5_checksum") if self.using_frozen else None
        if expected and _is_true(entry.get("fail_on_tamper", False)):
            from ..util import md5_for_file

            real = md5_for_file(path)
            if real != expected:
                raise ManifestError(
                    "Model File Mismatch for %s\nexpected hash:  %s\nreal hash: %s" % (name, expected, real)
                )
        self._models[name] = path


def _check(manifest, path):
    # type: (object, str) -> None
    """Raises ManifestError unless the entries are usable and the names unique."""
    if not isinstance(manifest, dict):
        raise ManifestError("%s must hold a JSON object" % path)
    names = set()
    for group in ("required_files", "optional_files"):
        for entry in manifest.get(group) or []:
            if not isinstance(entry, dict) or not all(
                isinstance(entry.get(key), string_types) for key in ("name", "source_uri")
            ):
                raise ManifestError("%s: each entry of %s needs a name and a source_uri" % (path, group))
            if entry["name"] in names:
                raise ManifestError("%s: the name %s appears twice" % (path, entry["name"]))
            names.add(entry["name"])


def _is_true(value):
    # type: (object) -> bool
    return value is True or (isinstance(value, string_types) and value.lower() == "true")  # type: ignore[attr-defined]
