"""docs/security.md says which families of hostile algorithms there are, and how many are in each."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from arena import HOSTILE
from platforms import ROOT


def test_the_document_counts_them() -> None:
    text = (Path(ROOT) / "docs" / "security.md").read_text(encoding="utf-8")
    documented = {name: int(count) for name, count in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)}
    families = {path.stem for path in HOSTILE.iterdir() if path.is_file()} - {"attempts"}
    modules = {name: importlib.import_module(f"test_{name}_escapes") for name in families}
    assert documented == {name: len(getattr(module, "ALL", module.ESCAPES)) for name, module in modules.items()}
    assert f"{sum(documented.values())} hostile algorithms" in text
