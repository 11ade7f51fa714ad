"""What a run of traffic or faults came to: counts of what was tried and seen, and what was not as it must be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_MOST_SHOWN = 20


@dataclass
class Report:
    """`title` says what was run, `remarks` what doesn't fit into counts; `violations` is empty when all is well."""

    title: str
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.title}, {self.seconds:.0f} s"]
        lines += [f"  {count:>7} {what}" for what, count in sorted(self.counts.items())]
        lines += [f"  {remark}" for remark in self.remarks]
        lines.append(f"  {len(self.violations):>7} violations" if self.violations else "no violation")
        lines += [f"    {text}" for text in self.violations[:_MOST_SHOWN]]
        return "\n".join(lines)
