"""Being told to end (SIGTERM) and the terminal going away (SIGHUP) while files are moved: as an interruption from the
keyboard, they leave time to keep what has come."""
import contextlib
import signal
import sys

_NAMES = ("SIGTERM", "SIGHUP")


@contextlib.contextmanager
def in_good_order():
    """Within it, these signals raise SystemExit with the status that a shell gives them."""
    replaced = []  # type: list
    told = []  # type: list

    def end(number, frame):
        told.append(number)
        for other in replaced:
            signal.signal(other, signal.SIG_IGN)  # a terminal that goes away says so more than once
        sys.exit(128 + number)

    for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
        try:
            if signal.getsignal(number) == signal.SIG_DFL:  # and not that of `nohup`
                signal.signal(number, end)
                replaced.append(number)
        except ValueError:
            pass  # not the main thread: others decide
    try:
        yield
    finally:
        if not told:
            for number in replaced:
                signal.signal(number, signal.SIG_DFL)
