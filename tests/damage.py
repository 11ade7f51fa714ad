"""A way to a platform on which content is damaged: a `WireServer` that passes requests on as a test says."""
try:
    from http.client import HTTPConnection
except ImportError:
    from httplib import HTTPConnection

from wire import WireServer


def flipped(content):
    """`content` with one bit the other way."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4
    return bytes(changed)


class DamagingWay(WireServer):
    """``with DamagingWay(server.address, up=1, down=0) as way``: damages that many bodies of PUTs and answers to GETs.
    """

    def __init__(self, address, up=0, down=0):
        WireServer.__init__(self, self._pass_on)
        self._target = address.split("://")[1]
        self.up, self.down = up, down

    def _pass_on(self, connection, request):
        body = request.body
        if request.method == "PUT" and self.up and body:
            self.up -= 1
            body = flipped(body)
        headers = {str(name): str(value) for name, value in request.headers.items()
                   if name not in ("host", "content-length", "transfer-encoding", "accept-encoding")}
        platform = HTTPConnection(self._target)
        try:
            platform.request(str(request.method), str(request.target), body, headers)  # 2.7 joins no text to bytes
            answered = platform.getresponse()
            content = answered.read()
        finally:
            platform.close()
        if request.method == "GET" and self.down and content:
            self.down -= 1
            content = flipped(content)
        lines = ["HTTP/1.1 %d %s" % (answered.status, answered.reason)]
        lines.extend("%s: %s" % pair for pair in answered.getheaders())
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        connection.sendall(content)
