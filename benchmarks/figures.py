"""Turn the JSON of a run into the table of docs/performance.md: ``python benchmarks/figures.py FILE``."""

from __future__ import annotations

import json
import sys


def shown(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def row(case: dict) -> str:
    """One line of a Markdown table."""
    unit = case["unit"]
    beside = ", ".join(f"{name} {shown(value)}" for name, value in case["also"].items())
    cells = [
        f"`{case['name']}`",
        case["what"],
        f"{shown(case['ours'])} {unit}",
        f"{shown(case['reference'])} {unit} ({case['reference_name']})",
        f"**{case['ratio']:.2f}**",
        case["target"].replace("<=", "≤").replace(">=", "≥") + ("" if case["ok"] else " **missed**"),
        beside or "-",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as handle:
        document = json.load(handle)
    print("| Name | What | Ours | Reference | Ratio | Target | Beside |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in document["cases"]:
        print(row(case))
    machine = document["machine"]
    print(f"\n{machine['cores']} cores, Python {machine['python']}, {machine['system']}, load {machine['load']};")
    print(", ".join(f"{name} {version}" for name, version in machine["peers"].items()) + ".")


if __name__ == "__main__":
    main()
