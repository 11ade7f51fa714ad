"""Runtimes as a build's row keeps them: without the paths of this installation, which may be another one tomorrow.

Below the state directory and below the platform's own package, paths are stored as ``{state}/…`` and ``{package}/…``;
`SDK` is what `languages/python3/sdk.py` provides. So builds survive an upgrade in a new place, and a moved home.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from ..engine.base import Runtime
from ..languages.python3.sdk import SDK, Provision

_PACKAGE = Path(__file__).parents[2]


class Runtimes:
    """Packs and unpacks runtimes of the platform whose state is in `state`. All methods block, if only briefly."""

    def __init__(self, state: Path) -> None:
        self._places = (("{state}", str(state.absolute())), ("{package}", str(_PACKAGE)))
        self._provision = Provision(state.absolute() / "environments")

    def pack(self, runtime: Runtime) -> str:
        """`runtime` as text for the row."""

        def short(text: str) -> str:
            for name, path in self._places:
                text = text.replace(path, name)
            return text

        return msgspec.json.encode(_mapped(runtime, short)).decode()

    def unpack(self, text: str) -> Runtime:
        """The runtime that `text` stands for, on this installation."""
        return self.located(msgspec.json.decode(text, type=Runtime))

    def located(self, runtime: Runtime) -> Runtime:
        """`runtime` with the paths that its placeholders stand for."""

        def full(text: str) -> str:
            for name, path in self._places:
                text = text.replace(name, path)
            return text.replace(SDK, str(self._provision.directory(runtime.command[0]))) if SDK in text else text

        return _mapped(runtime, full)


def _mapped(runtime: Runtime, change: Callable[[str], str]) -> Runtime:
    return replace(
        runtime,
        command=tuple(change(part) for part in runtime.command),
        environment={name: change(value) for name, value in runtime.environment.items()},
        readable=tuple(change(path) for path in runtime.readable),
    )
