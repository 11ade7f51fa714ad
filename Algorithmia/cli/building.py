"""What `algo run` shows while the platform builds an algorithm before it can run it: a bundled one, on its first call.

A side-look with a connection of its own, a moment after the call began, and again later for as long as nothing was ever
built. Whatever goes wrong with it is nobody's business: the call tells how things are.
"""
import threading

from ..client import Client
from .builds import IN_PROGRESS
from .context import decode

PATIENCE = 1.0  # seconds; most calls have ended by then


class BuildWatch(object):
    """Watches for a build of an algorithm while the ``with`` block runs, and shows it on standard error."""

    def __init__(self, found, args, env):
        self._path, self._profile, self._env = "%s/%s" % (found.username, found.algoname), args.profile, env
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._has_line = False
        self._timer = threading.Timer(PATIENCE, self._look)
        self._timer.daemon = True  # the answer is not kept waiting for it

    def __enter__(self):
        # type: () -> BuildWatch
        if not self._env.quiet:
            self._timer.start()
        return self

    def __exit__(self, *exc_info):
        self._timer.cancel()
        with self._lock:
            self._over.set()
            if self._has_line:
                self._write(b"\r\x1b[K")

    def _look(self):
        # type: () -> None
        pause = PATIENCE
        try:
            found = Client(profile=self._profile, retries=0).algo(self._path)
            while not self._follow(found):  # a busy platform begins late
                pause *= 2
                if self._over.wait(pause):
                    return
        except Exception:  # noqa: S110
            pass

    def _follow(self, found):
        """Show the build that runs, to its end; whether there is, or was, any."""
        builds = found.get_builds(1)["results"]
        if not builds:
            return False
        if builds[0]["status"] != IN_PROGRESS:
            return True
        self._show("Building %s (first use) ..." % self._path)
        rest = b""
        for chunk in found.stream_build_logs(builds[0]["build_id"]):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                self._show("Building %s: %s" % (self._path, decode(line).strip()) if line.strip() else "")
            if self._over.is_set():
                break
        return True

    def _show(self, text):
        # type: (str) -> None
        """One line in place of the last on a terminal, else one line after the other."""
        with self._lock:
            if self._over.is_set() or not text:
                return
            if not self._env.stderr_isatty:
                self._env.complain(text)
                return
            text = u"".join(c if ord(c) >= 32 and not 127 <= ord(c) < 160 else u"?" for c in decode(text))
            self._has_line = True
            self._write(b"\r\x1b[K" + text[: max(self._env.columns() - 1, 20)].encode("utf-8", "replace"))

    def _write(self, data):
        # type: (bytes) -> None
        try:
            self._env.stderr.write(data)
            self._env.stderr.flush()
        except (IOError, OSError, ValueError):
            pass  # nobody is there to be told
