"""The bar on the terminal while bytes move; nothing at all without a terminal or without tqdm."""
import threading


class Progress(object):
    """Counts bytes from any thread and shows them. Use as a context manager; call it with a number of bytes."""

    def __init__(self, env, total=None):
        self._bar = _make_bar(env, total)
        self._lock = threading.Lock()

    def __enter__(self):
        # type: () -> Progress
        return self

    def __exit__(self, *exc_info):
        if self._bar is not None:
            self._bar.close()

    def __call__(self, count):
        # type: (int) -> None
        if self._bar is not None:
            with self._lock:
                self._bar.update(count)

    def expect(self, count):
        # type: (int) -> None
        """`count` bytes more will come than was known at the start."""
        if self._bar is not None:
            with self._lock:
                self._bar.total = (self._bar.total or 0) + count

    def around(self, write, text):
        """Write a line without tearing the bar."""
        if self._bar is None:
            write(text)
            return
        with self._lock:
            self._bar.clear()
            write(text)  # the next bytes bring the bar back, unless it is too early to show one


def _make_bar(env, total):
    if env.quiet or not env.stderr_isatty:
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="B", unit_scale=True, leave=False, dynamic_ncols=True, delay=0.5)
