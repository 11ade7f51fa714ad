"""What `algo local status` tells of the platform's work: its metrics, read with the administrator's key and put in few
words. A platform from before it had any, or one whose key isn't here, tells less; that is no error."""
import os
import re

from .. import config, errors
from .output import human_size
from .users import ADMIN_PROFILE

TYPE_CHECKING = False  # typing is not in 2.7's standard library; checkers take this as true
if TYPE_CHECKING:
    from typing import Any, Dict, List  # noqa: F401

_PREFIX = "algorithmia_"
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def measures(found):
    """What the running platform `found` (see `local.status`) has done, as plain numbers; None if it doesn't tell."""
    text = _metrics(found["address"])
    if text is None:
        return None
    samples = read(text)

    def one(name):
        return samples.get(name, {}).get((), None)

    def by(name):
        return {labels[-1][1]: value for labels, value in samples.get(_PREFIX + name, {}).items() if labels}

    return {
        "calls": by("calls_total"),
        "errors": {name: count for name, count in by("call_errors_total").items() if count},
        "seconds_queued": _mean(samples, "call_queue_seconds"),
        "seconds_run": _mean(samples, "call_run_seconds"),
        "workers": by("workers"),
        "calls_waiting": one(_PREFIX + "calls_waiting"),
        "async_calls_pending": one(_PREFIX + "async_calls_pending"),
        "requests": by("requests_total"),
        "builds": by("builds"),
        "builds_waiting": one(_PREFIX + "builds_waiting"),
        "server_bytes": one("process_resident_memory_bytes"),
        "workers_bytes": one(_PREFIX + "workers_proportional_memory_bytes")
        or one(_PREFIX + "workers_resident_memory_bytes"),
    }


def read(text):
    """``{name: {((label, value), ...): number}}`` of Prometheus' text format; buckets and what makes no sense are left
    out."""
    samples = {}  # type: Dict[str, Dict[Any, float]]
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None or match.group(1).endswith("_bucket"):
            continue
        name, labels, number = match.groups()
        try:
            value = float(number)
        except ValueError:
            continue
        samples.setdefault(name, {})[tuple(_LABEL.findall(labels or ""))] = int(value) if value.is_integer() else value
    return samples


def lines(found, known):
    """`known` (see `measures`) and what anybody may know, for a person: pairs of title and text."""
    health = found.get("health", {})
    shown = []
    if "uptime" in health:
        shown.append(("up", "%s, %d requests" % (_span(health["uptime"]), health.get("requests", {}).get("total", 0))))
    if known is None:
        engine = health.get("engine", {})
        if "workers" in engine:
            shown.append(("workers", "%d, of which busy %d" % (engine["workers"], engine.get("busy", 0))))
        return shown
    calls = _counts(known["calls"], ("succeeded", "failed", "invalid", "refused", "cancelled"), always=2)
    shown.append(("calls", calls + (", %d waiting" % known["calls_waiting"] if known["calls_waiting"] else "")))
    if known["async_calls_pending"]:
        shown.append(("async calls", "%d pending" % known["async_calls_pending"]))
    if known["errors"]:
        shown.append(("errors", ", ".join("%s %d" % pair for pair in sorted(known["errors"].items()))))
    if known["seconds_run"] is not None:
        means = _span(known["seconds_queued"]), _span(known["seconds_run"])
        shown.append(("a call", "waited %s and ran %s, on average" % means))
    shown.append(("workers", _counts(known["workers"], ("idle", "busy", "starting"), always=2)))
    builds = _counts(known["builds"], ("succeeded", "failed", "in-progress", "unbuilt"), always=2)
    shown.append(("builds", builds + (", %d waiting" % known["builds_waiting"] if known["builds_waiting"] else "")))
    if known["server_bytes"]:
        sizes = [human_size(int(known[name] or 0)) for name in ("server_bytes", "workers_bytes")]
        shown.append(("memory", "server %s, workers %s" % tuple(sizes)))
    return shown


def _metrics(address):
    from ..client import Client

    profile = config.load_profiles(os.path.join(config.home(), "config")).get(ADMIN_PROFILE)
    # The platform keeps both in step; a key goes nowhere but to the address that it is for.
    if profile is None or not profile.api_key or profile.api_server != address:
        return None
    try:
        client = Client(profile.api_key, address, retries=1, timeout=5.0)
        return client.request("GET", "/metrics").data.decode("utf-8", "replace")
    except errors.ApiError:
        return None


def _mean(samples, name):
    def one(suffix):
        return samples.get(_PREFIX + name + suffix, {}).get((), 0.0)

    return one("_sum") / one("_count") if one("_count") else None


def _counts(counts, order, always):
    """The first `always` counts in any case, of the others those that aren't zero."""
    kept = [name for place, name in enumerate(order) if place < always or counts.get(name)]
    return ", ".join("%d %s" % (counts.get(name, 0), name) for name in kept)


def _span(seconds):
    if seconds is None:
        return "?"
    if seconds < 0.1:
        return "%.2g ms" % (seconds * 1000)
    if seconds < 10:
        return "%.2g s" % seconds
    words = []  # type: List[str]
    for size, unit in _UNITS:
        count, seconds = divmod(int(seconds), size)
        if count and len(words) < 2:
            words.append("%d %s" % (count, unit))
    return " ".join(words)
