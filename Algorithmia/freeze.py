"""`Client.freeze`: pin the model files of a manifest by their MD5. Facts: "Model manifest" of the runtime document."""
import hashlib
import json
import os
import time
from collections import OrderedDict

from . import transfer
from .adk.lock import lock_checksum
from .errors import ConfigError

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from .client import Client  # noqa: F401


class _Digest(object):
    """A file object that only counts the MD5 of what is written to it."""

    def __init__(self):
        # type: () -> None
        self._md5 = hashlib.md5()
        self.write = self._md5.update
        self.hexdigest = self._md5.hexdigest


def freeze(client, manifest_path, manifest_output_dir="."):
    # type: (Client, str, str) -> str
    """Write ``model_manifest.json.freeze`` into `manifest_output_dir` and return its path.

    Every file that the manifest lists, required and optional, is read once, streamed, and nothing is kept of it.
    Raises ConfigError if the manifest is missing or malformed, and the errors of reading its files.
    """
    if not os.path.exists(manifest_path):
        raise ConfigError("no manifest file %r: make one, or say where it is" % manifest_path)
    with open(manifest_path) as handle:
        try:
            manifest = json.load(handle, object_pairs_hook=OrderedDict)
        except ValueError as error:
            raise ConfigError("the manifest %r is not valid JSON: %s" % (manifest_path, error))
    for group in ("required_files", "optional_files"):
        for entry in manifest.get(group) or ():
            digest = _Digest()
            transfer.download_to(client, entry["source_uri"], digest)
            entry["md5_checksum"] = digest.hexdigest()
    manifest["timestamp"] = str(time.time())
    manifest["lock_checksum"] = lock_checksum(manifest)
    target = os.path.join(manifest_output_dir, "model_manifest.json.freeze")
    with transfer.replacing(target) as output:
        output.write(json.dumps(manifest).encode("utf-8"))
    return target
