"""A way to a platform that breaks: a proxy of bytes that closes connections, and damages what passes, as tests say."""
import socket
import threading


class BreakingWay(object):
    """``with BreakingWay(server.address, up=[100000], down=[]) as way``: a proxy at ``way.address``.

    up, down  after so many bytes in that direction a connection is broken; each limit is used once
    flip      as `up`: there a bit is turned on its way to the platform
    refuse    whether connections are refused (closed at once)
    stall     {"up" or "down": bytes} after which nothing passes any more; `stalled` is set then

    heads     the first line of every request that began where a connection's data did, so of most of them
    """

    def __init__(self, address, up=(), down=(), flip=()):
        host, port = address.split("://")[1].split(":")
        self._target = host, int(port)
        self.up, self.down, self.flip = list(up), list(down), list(flip)
        self.refuse = False
        self.stall = {}
        self.stalled = threading.Event()
        self._ended = threading.Event()
        self.heads = []
        self._passed = {"up": 0, "down": 0}
        self._lock = threading.Lock()

    def __enter__(self):
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.address = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
        self._open = []
        thread = threading.Thread(target=self._accept)
        thread.daemon = True
        thread.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        for opened in [self._listener] + self._open:
            _end(opened)

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except (OSError, socket.error):
                return
            if self.refuse:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, target, direction in ((near, far, "up"), (far, near, "down")):
                thread = threading.Thread(target=self._pass_on, args=(source, target, direction))
                thread.daemon = True
                thread.start()

    def _pass_on(self, source, target, direction):
        limits = getattr(self, direction)
        while True:
            try:
                data = source.recv(65536)
                if not data:
                    break
                if direction == "up" and b" HTTP/1.1\r\n" in data[:2000]:
                    self.heads.append(data.split(b"\r\n")[0].decode("latin-1"))
                with self._lock:
                    before = self._passed[direction]
                    self._passed[direction] += len(data)
                    if direction == "up" and self.flip and before + len(data) > self.flip[0]:
                        self.flip.pop(0)
                        changed = bytearray(data)
                        changed[-1] ^= 4
                        data = bytes(changed)
                    is_last = bool(limits) and before + len(data) >= limits[0]
                    if is_last:
                        data = data[: limits.pop(0) - before]
                        self._passed[direction] = 0
                if self._passed[direction] > self.stall.get(direction, 1 << 60):
                    self.stalled.set()
                    self._ended.wait(60)
                    break
                target.sendall(data)
                if is_last:
                    break
            except (OSError, socket.error):
                break
        _end(source)
        _end(target)


def _end(opened):
    try:
        opened.shutdown(socket.SHUT_RDWR)
    except (OSError, socket.error):
        pass
    opened.close()
