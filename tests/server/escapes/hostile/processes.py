"""Algorithms that start, stop and kill what they can, themselves included."""

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

from .attempts import attempt, libc, processes, system


def kills_everybody(input):
    """Every process by its number, its parent, and all at once; then it counts who is left to be seen."""
    for number in range(1, 40000):
        if number != os.getpid():
            attempt(os.kill, number, signal.SIGKILL)
    attempt(os.kill, os.getppid(), signal.SIGTERM)
    attempt(os.kill, os.getppid(), signal.SIGKILL)
    attempt(os.killpg, 1, signal.SIGKILL)
    attempt(os.kill, -1, signal.SIGKILL)
    return processes()


def stops_everybody(input):
    """The same with a signal that freezes."""
    attempt(os.kill, os.getppid(), signal.SIGSTOP)
    attempt(os.kill, -1, signal.SIGSTOP)
    for number in range(1, 40000):
        if number != os.getpid():
            attempt(os.kill, number, signal.SIGSTOP)
    return "frozen"


def rights_of_the_first(input):
    """Those of the sandbox's first process, which a plain user's algorithm could make its own."""
    with open("/proc/1/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    capabilities = [int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    return [any(capabilities), fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()]


def fork_bomb(input):
    """Every process makes others for as long as it can."""
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.05)


def fork_bomb_that_answers(input):
    """As many children as it gets, which outlive the call."""
    count = 0
    try:
        while count < 5000:
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
            count += 1
    except OSError as problem:
        return [count < 512, problem.errno == 11]


def thread_bomb(input):
    """As many threads as it gets."""
    threading.stack_size(65536)
    count = 0
    try:
        while count < 5000:
            threading.Thread(target=time.sleep, args=[600], daemon=True).start()
            count += 1
    except RuntimeError as problem:
        return [count < 512, str(problem)]


def daemon(mark):
    """A grandchild in a session of its own, deaf to signals, that no parent's end is told to."""
    if os.fork() == 0:
        os.setsid()
        for number in range(1, 65):
            attempt(signal.signal, number, signal.SIG_IGN)
        libc.prctl(1, 0, 0, 0, 0)
        if os.fork() == 0:
            os.closerange(0, 256)
            os.execvp("sleep", ["sleep", mark])
        os._exit(0)
    os.wait()
    return "detached"


def sibling(mark):
    """A child that is its parent's, by the flag that says so."""
    if system(56, 0x8000 | 17, 0, 0, 0, 0) == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", mark])
    return "detached"


def zombies(input):
    """Children that have ended and that nobody waits for."""
    for _ in range(200):
        if os.fork() == 0:
            os._exit(0)
    return "left"


def ignores_sigterm(input):
    """Deaf, and asleep whatever wakes it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def loops_in_c(input):
    """In code that no signal handler of Python's gets a word in."""
    return max(itertools.count())


def loops_with_children(mark):
    """Grandchildren that work on while it does."""
    for _ in range(4):
        subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep %s; done" % mark], start_new_session=True)
    while True:
        pass


def stops_itself(input):
    """Frozen, it neither answers nor ends."""
    os.kill(os.getpid(), signal.SIGSTOP)


def kills_itself(number):
    """By the signal that it's told."""
    os.kill(os.getpid(), number)


def sends_itself_an_alarm(input):
    """A signal that ends it while it works."""
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(60)


def aborts(input):
    """As a failed assertion of a library would."""
    os.abort()


def reads_address_zero(input):
    """A wild pointer."""
    return ctypes.string_at(0)


def exits_in_apply(input):
    """The polite way."""
    sys.exit(input)


def exits_at_once(input):
    """Without a farewell."""
    print("farewell")
    os._exit(input)


def exits_with_threads(input):
    """Threads that would hold up the interpreter's end."""
    threading.Thread(target=time.sleep, args=[600]).start()
    sys.exit(4)


def exits_in_a_fork(input):
    """A child that returns into the platform's runner, as if it were the parent."""
    return "child" if os.fork() == 0 else "parent"


def exits_at_import_load():
    """Only once its build is over."""
    if os.environ.get("ARMED"):
        print("not today")
        os._exit(7)


def exits_at_import(input):
    return "loaded"


def exits_politely_at_import_load():
    if os.environ.get("ARMED"):
        sys.exit("no thanks")


def exits_politely_at_import(input):
    return "loaded"


def crashes_at_import_load():
    if os.environ.get("ARMED"):
        ctypes.string_at(0)


def crashes_at_import(input):
    return "loaded"


def hangs_at_import_load():
    if os.environ.get("ARMED"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


def hangs_at_import(input):
    return "loaded"


def floods_at_import_load():
    if os.environ.get("ARMED"):
        for _ in range(100):
            os.write(1, b"x" * 65536)
        raise RuntimeError("y" * 10**7)


def floods_at_import(input):
    return "loaded"


def refuses_to_retire(input):
    """Threads, handlers and exit functions that would go on for ever once it is asked to end."""
    import atexit

    atexit.register(lambda: time.sleep(600))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=time.sleep, args=[600]).start()
    return "staying"
