"""A server as thin as asyncio allows: answers every POST with its body as the result of a call. Prints its port.

It understands just what the measured clients send (Content-Length bodies, keep-alive), so that its own work, which all
of them wait for alike, is as small as possible.
"""

import asyncio
import json

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            if len(rest) < length:
                return
            body, self.buffer = rest[:length], rest[length:]
            document = {"result": body.decode("utf-8"), "metadata": {"content_type": "text", "duration": 0.0001}}
            answer = json.dumps(document).encode("utf-8")
            self.transport.write(HEAD % len(answer) + answer)


async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
