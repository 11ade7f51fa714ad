"""Algorithms that get hold of the socket to the platform, and speak for the runner."""

import os
import struct
import sys
import time

from .attempts import number_of_this_call, private_socket

CALL, READY, UNLOADED, DONE, FAILED, INVALID = range(1, 7)
TEXT, JSON, BINARY = range(3)
INLINE, ATTACHED = range(2)
_stolen = []


def _frame(kind, number, body=b"", content_type=JSON, where=INLINE, length=None, seconds=0.0):
    length = len(body) if length is None else length
    header = struct.pack("!BBHIQd", kind, content_type, where, number, length, seconds)
    return header + (body if where == INLINE else b"")


def _pass(descriptors, length):
    """The answer as the content of files, by their descriptors; then nothing more."""
    import array
    import socket

    given = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    private_socket().sendmsg([_frame(DONE, number_of_this_call(), where=ATTACHED, length=length)], given)
    time.sleep(60)


def _say(frame):
    """One packet; then nothing more."""
    private_socket().send(frame)
    time.sleep(60)


def answers_twice(input):
    """Its own answer, before the runner's."""
    private_socket().send(_frame(DONE, number_of_this_call(), b'"first"'))
    return "second"


def answers_without_end(input):
    """As many answers as go in."""
    link, frame = private_socket(), _frame(DONE, number_of_this_call(), b'"first"')
    while True:
        link.send(frame)


def answers_another_call(input):
    """The one after this."""
    _say(_frame(DONE, number_of_this_call() + 1, b'"forged"'))


def answers_every_call(input):
    """All the numbers that there could be, but for its own."""
    link = private_socket()
    for number in range(number_of_this_call() + 1, 100000):
        link.send(_frame(DONE, number, b'"forged"'))
    time.sleep(60)


def takes_no_time_that_is_a_number(input):
    """An answer whose duration no sum survives."""
    private_socket().send(_frame(DONE, number_of_this_call(), b'"first"', seconds=float("nan")))
    return "second"


def took_less_than_no_time(input):
    """The same with an infinite one."""
    private_socket().send(_frame(DONE, number_of_this_call(), b'"first"', seconds=float("-inf")))
    return "second"


def says_garbage(input):
    """Bytes without a meaning."""
    _say(b"\xff" * 100)


def says_half_a_header(input):
    """Less than any packet has."""
    _say(b"\x04\x01")


def says_nothing(input):
    """An empty packet, which is what a closed socket looks like."""
    private_socket().send(b"")
    time.sleep(60)


def announces_more_than_it_sends(input):
    """A length beyond the packet's end."""
    _say(_frame(DONE, number_of_this_call(), b"1", length=100))


def announces_too_much(input):
    """A file of a terabyte, which the platform would have to read."""
    _pass([os.memfd_create("x")], 2**40)


def announces_more_than_there_is(input):
    """A file shorter than its announced length."""
    descriptor = os.memfd_create("x")
    os.write(descriptor, b"1")
    _pass([descriptor], 1000)


def passes_nothing(input):
    """A file that doesn't come."""
    _pass([], 10)


def passes_a_directory(input):
    """A directory, which nobody can read from like a file."""
    _pass([os.open("/", os.O_RDONLY)], 10)


def passes_a_pipe(input):
    """Something that would keep its reader waiting."""
    _pass([os.pipe()[0]], 10)


def passes_a_terminal(input):
    """Something that would keep its reader waiting, and could become its terminal."""
    _pass([os.openpty()[1]], 10)


def passes_what_cannot_be_read(input):
    """A file that is open for writing only."""
    descriptor = os.open(os.environ["TMPDIR"] + "/file", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"1" * 10)
    _pass([descriptor], 10)


def passes_many(input):
    """More files than are asked for."""
    _pass([os.memfd_create("x") for _ in range(200)], 0)


def loads_again(input):
    """As if it had only just been started."""
    _say(_frame(READY, 0))


def unloads(input):
    """As if it had failed to load."""
    _say(_frame(UNLOADED, 0, b'{"message": "forged"}'))


def says_an_unknown_kind(input):
    """A packet of a kind that there isn't."""
    _say(_frame(200, number_of_this_call(), b"{}"))


def answers_in_an_unknown_type(input):
    """A content type that there isn't."""
    _say(_frame(DONE, number_of_this_call(), b"1", content_type=9))


def calls_the_platform(input):
    """The platform's own kind of packet, sent back."""
    _say(_frame(CALL, number_of_this_call(), b"1"))


def fails_without_a_reason(input):
    """An error that is no error document."""
    _say(_frame(FAILED, number_of_this_call(), b"\xff\xfe"))


def fails_with_any_type(input):
    """An error whose type is longer than anybody wants to read."""
    _say(_frame(FAILED, number_of_this_call(), b'{"message": "x", "error_type": "' + b"y" * 10000 + b'"}'))


def answers_what_is_not_json(input):
    """A result that would spill over into the document around it."""
    body = b'1,"metadata":{"content_type":"json","duration":1,"alerts":["forged"]},"x":2'
    _say(_frame(DONE, number_of_this_call(), body))


def answers_with_half_a_text(input):
    """Text that isn't a JSON string."""
    _say(_frame(DONE, number_of_this_call(), b"not a string", content_type=TEXT))


def answers_invalid_text(input):
    """A JSON string of bytes that are no text."""
    _say(_frame(DONE, number_of_this_call(), b'"\xff\xfe"', content_type=TEXT))


def answers_nothing(input):
    """No value at all."""
    _say(_frame(DONE, number_of_this_call(), b""))


def answers_too_deep_for_others(input):
    """Lists in lists, deeper than those who read them can go."""
    descriptor = os.memfd_create("x")
    os.write(descriptor, b"[" * 200000 + b"]" * 200000)
    _pass([descriptor], 400000)


def refuses_its_input_at_length(input):
    """As if the caller had sent what isn't JSON, with more to say about it than fits a header."""
    private_socket().send(_frame(INVALID, number_of_this_call(), b"no\r\nX-Forged: yes\r\n\r\n" + b"x" * 40000))
    os._exit(0)


def hangs_up(input):
    """Its socket is closed, and it stays."""
    os.closerange(3, 1024)
    time.sleep(60)


def hangs_up_and_returns(input):
    """The runner then finds no socket to answer over."""
    os.closerange(3, 1024)
    return "unheard"


def swaps_the_socket(input):
    """Another socket in the place of the platform's: the runner then talks to itself."""
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for name in os.listdir("/proc/self/fd"):
        try:
            is_socket = os.readlink("/proc/self/fd/" + name).startswith("socket:")
            if is_socket and int(name) not in (ours.fileno(), theirs.fileno()):
                os.dup2(theirs.fileno(), int(name))
        except OSError:
            continue
    _stolen.append((ours, theirs))
    return "unheard"


def patches_the_runner(input):
    """What this process reads its calls with, replaced for everybody who comes later."""
    runner = sys.modules["__main__"]
    before = runner.decode_input

    def forged(content_type, body):
        return "forged for %s" % before(content_type, body)

    runner.decode_input = forged
    return input


def keeps_what_it_sees(input):
    """Everything that it was ever called with, in this process, in files, and in the environment."""
    _stolen.append(input)
    path = os.environ["TMPDIR"] + "/seen"
    with open(path, "a") as handle:
        handle.write("%s\n" % input)
    os.environ["SEEN"] = "%s %s" % (os.environ.get("SEEN", ""), input)
    with open(path) as handle:
        return {"memory": list(_stolen), "files": handle.read().split(), "environment": os.environ["SEEN"].split()}
