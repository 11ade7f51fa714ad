"""Algorithms whose results, errors and output are hard to pass on."""

import os
import sys
import time


class Loud(Exception):
    """An exception that can't be described."""

    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


class Typed(Exception):
    """One whose type can't be asked for."""

    @property
    def error_type(self):
        raise ValueError("no")


class Deadly(Exception):
    """One whose description ends the process."""

    def __str__(self):
        raise SystemExit(9)


class Cunning(str):
    """Text that claims to be something else whenever it's looked at."""

    def __str__(self):
        return "cunning"

    def __len__(self):
        return -5

    def encode(self, *arguments):
        raise ValueError("no")


class Undead:
    """Something that prints and fails while it is forgotten."""

    def __del__(self):
        print("undead")
        raise ValueError("no")


class Pickled(dict):
    """What would run a program wherever it were unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/pickled",)


def not_a_number(input):
    return [float("nan"), float("inf")]


def not_plain(input):
    return {1, 2}


def not_finite(input):
    """A list without end."""
    found = []
    found.append(found)
    return found


def too_deep(input):
    found = []
    for _ in range(100000):
        found = [found]
    return found


def too_large(input):
    return "x" * input


def too_large_bytes(input):
    return b"x" * input


def too_many_digits(input):
    return 10**10000


def half_a_character(input):
    return "\ud800"


def odd_keys(input):
    return {None: 1, True: 2, 1.5: 3, "\ud800": 4, (): 5}


def cunning_text(input):
    return Cunning("text")


def undead(input):
    return {"value": 1, "kept": Undead() and None}


def pickled(input):
    return [Pickled(a=1), os.path.exists("/tmp/pickled")]


def endless_iterator(input):
    return iter(int, 1)


def enormous_message(input):
    raise ValueError("x" * 10**7)


def message_without_meaning(input):
    raise ValueError("half \ud800 \x00 \x1b[31m")


def cannot_be_described(input):
    raise Loud()


def cannot_be_asked(input):
    raise Typed("x")


def kills_who_asks(input):
    raise Deadly()


def wears_a_false_name(input):
    raise type("X" * 1000 + "\n", (Exception,), {"error_type": "y" * 10**6})("x")


def interrupts(input):
    raise KeyboardInterrupt("x")


def ends_the_generator(input):
    raise GeneratorExit("x")


def recursion(input):
    return recursion(input)


def endless_causes(input):
    """A chain of exceptions that bites its tail."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def memory_error(input):
    return "x" * (1 << 62)


def floods_output(input):
    for _ in range(input):
        os.write(1, b"x" * 65536)
    return "dry"


def floods_and_hangs(input):
    """Output that nobody could ever have read to its end."""
    print("before")
    while True:
        os.write(2, b"y" * 65536)


def prints_bytes(input):
    os.write(1, b"\xff\xfe\x00\x1b]0;title\x07")
    return "printed"


def prints_and_sleeps(input):
    print("half", end="", flush=True)
    time.sleep(60)


def replaces_its_output(input):
    """With something that fails, and that waits for ever when it's told to hurry."""

    class Stream:
        def write(self, text):
            raise OSError("no")

        def flush(self):
            raise SystemError("no")

    sys.stdout = sys.stderr = Stream()
    return "silent"


def blocks_its_output(input):
    """With something that never returns."""

    class Stream:
        def write(self, text):
            return len(text)

        def flush(self):
            time.sleep(600)

    sys.stdout = Stream()
    return "stuck"


def closes_its_output(input):
    os.close(0)
    os.close(1)
    os.close(2)
    return "silent"


def takes_much(input):
    return len(input)


def changes_what_is_built_in(input):
    """What everything in this process relies on."""
    import builtins
    import json.encoder
    import struct

    builtins.len = builtins.isinstance = builtins.str = None
    json.encoder.JSONEncoder.encode = struct.pack = None
    return "broken"
