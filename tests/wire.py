"""A loopback server that answers just as a test says, byte for byte, and records what it was sent.

For the far side of a network that misbehaves (slow, dead, truncating, talking garbage) and for looking at requests;
whatever our own platform can answer is tested against the platform.
"""
import json
import socket
import threading


class Recorded(object):
    """One request as it came: method, target, headers (lower-case names), body (bytes)."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body

    @property
    def path(self):
        return self.target.split("?")[0]

    @property
    def query(self):
        return self.target.partition("?")[2]

    @property
    def json(self):
        return json.loads(self.body.decode("utf-8"))


def answer(document=None, status="200 OK", headers=(), body=None):
    """The bytes of an answer with a JSON document, or with `body`."""
    if body is None:
        body = json.dumps(document).encode("utf-8")
    lines = ["HTTP/1.1 " + status, "Content-Length: %d" % len(body)] + list(headers)
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


class WireServer(object):
    """``with WireServer(reply, ...) as wire``: each reply is bytes to send, or a function of (socket, Recorded).

    Replies are used in turn, the last one for ever. A reply of None closes the connection without a word.
    """

    def __init__(self, *replies):
        self.replies = list(replies) or [answer({"result": None, "metadata": {"content_type": "void", "duration": 0}})]
        self.requests = []
        self.connections = 0

    def __enter__(self):
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(64)
        self.address = "http://127.0.0.1:%d" % self._socket.getsockname()[1]
        self._open = []
        self._ended = False
        self._thread = threading.Thread(target=self._accept)
        self._thread.daemon = True
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except (OSError, socket.error):
            pass
        self._socket.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except (OSError, socket.error):
                pass
            connection.close()
        self._thread.join(5)

    def _accept(self):
        while not self._ended:
            try:
                connection, _ = self._socket.accept()
            except (OSError, socket.error):
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.daemon = True
            thread.start()

    def _serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while True:
                request = self._read(stream)
                if request is None:
                    return
                self.requests.append(request)
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if reply is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                if callable(reply):
                    reply(connection, request)
                else:
                    connection.sendall(reply)
        except (OSError, IOError, ValueError):
            pass
        finally:
            stream.close()

    @staticmethod
    def _read(stream):
        line = stream.readline().decode("latin-1").split()
        if len(line) < 3:
            return None
        headers = {}
        while True:
            header = stream.readline().decode("latin-1").strip()
            if not header:
                break
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(stream.readline().split(b";")[0], 16)
                body += stream.read(size)
                stream.readline()
                if not size:
                    break
        else:
            body = stream.read(int(headers.get("content-length", 0)))
        return Recorded(line[0], line[1], headers, body)


def unused_address():
    """An address on loopback where nothing listens."""
    with_port = socket.socket()
    with_port.bind(("127.0.0.1", 0))
    port = with_port.getsockname()[1]
    with_port.close()
    return "http://127.0.0.1:%d" % port
