"""The transfers that are compared, and the names for several of them."""

from __future__ import annotations

from . import large, small

CASES = [*large.CASES, *small.CASES]
HUGE = large.HUGE
GROUPS = {
    "transfer-large": [case.name for case in large.CASES],
    "transfer-huge": [case.name for case in large.HUGE],
    "transfer-small": [case.name for case in small.CASES],
}
