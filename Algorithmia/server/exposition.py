"""Prometheus' text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]


class Exposition:
    """Families of samples, collected, then `text`."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def counter(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """A family of numbers that only grow; `name` ends with ``_total``."""
        self._family(name, "counter", help, samples)

    def gauge(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """A family of numbers that come and go."""
        self._family(name, "gauge", help, samples)

    def histogram(self, name: str, help: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """`counts` per bucket (not yet added up), one more than `bounds`, and the sum of all that was counted."""
        self._head(name, "histogram", help)
        running = 0
        for bound, count in zip((*map(_number, bounds), "+Inf"), counts, strict=True):
            running += count
            self._sample(f"{name}_bucket", {"le": bound}, running)
        self._sample(f"{name}_sum", {}, total)
        self._sample(f"{name}_count", {}, running)

    def text(self) -> str:
        """Everything, as a scraper reads it."""
        return "\n".join([*self._lines, ""])

    def _family(self, name: str, kind: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        self._head(name, kind, help)
        for labels, value in samples:
            self._sample(name, labels, value)

    def _head(self, name: str, kind: str, help: str) -> None:
        self._lines += (f"# HELP {name} {help}", f"# TYPE {name} {kind}")

    def _sample(self, name: str, labels: Labels, value: float) -> None:
        shown = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        self._lines.append(f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
