"""The commands of a template's README.md, run as its reader would."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run_readme(project: Path, path: str, home: Path) -> str:
    """Run the commands that README.md of `project` shows; what they print. They must all succeed."""
    lines = (project / "README.md").read_text(encoding="utf-8").splitlines()
    script = "\n".join(line.strip() for line in lines if line.startswith("    "))
    # No FIFO: answers are printed for a person to read.
    fifo = str(home / "nothing")
    variables = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "ALGORITHMIA_OUTPUT_FIFO": fifo}
    variables["CARGO_NET_OFFLINE"] = "true"
    done = subprocess.run(
        ["/bin/bash", "-euc", script], cwd=project, env=variables, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)
    return done.stdout
