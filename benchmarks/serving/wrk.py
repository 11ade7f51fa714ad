"""Load by `wrk`: requests a second and latencies of one server."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# One thread: it drives all connections, and leaves the rest of the machine to the server.
_SCRIPT = """
wrk.method = "POST"
wrk.body = %(body)s
%(headers)s
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'FIGURES {"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "status": %%d, "broken": %%d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


class WrkMissing(Exception):
    """There is no load generator; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: requests a second, and milliseconds of its median and 99th percentile."""

    rate: float
    p50: float
    p99: float


def program() -> str:
    """The wrk to use. Raises WrkMissing."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkMissing("the load generator wrk is missing: install it (Debian, Ubuntu: apt-get install wrk)")
    return found


def load(
    url: str, body: str, headers: dict[str, str], connections: int, seconds: float, scratch: Path
) -> Sample:
    """POST `body` over and over on `connections`. Raises RuntimeError if any answer was not a good one."""
    lines = "\n".join(f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items())
    script = scratch / "post.lua"
    script.write_text(_SCRIPT % {"body": _lua(body), "headers": lines})
    script.chmod(0o600)
    whole = max(1, round(seconds))
    command = [program(), "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "10s", "-s", str(script), url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=whole + 60, check=False)
    output = done.stdout.decode("utf-8", "replace")
    line = next((line for line in output.splitlines() if line.startswith("FIGURES ")), None)
    if done.returncode or line is None:
        raise RuntimeError(f"wrk ended with {done.returncode}: {output[-500:]}{done.stderr.decode()[-500:]}")
    found = json.loads(line.removeprefix("FIGURES "))
    if found["status"] or found["broken"] or not found["requests"]:
        raise RuntimeError(f"{url} did not answer everything: {found}")
    return Sample(found["requests"] / found["microseconds"] * 1e6, found["p50"] / 1000, found["p99"] / 1000)


def _lua(text: str) -> str:
    """`text` as a literal of Lua."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'
