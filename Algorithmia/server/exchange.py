"""One request and its answer on a connection: what uvicorn makes of them, and answers that are sent as one message.

Most answers are complete when they begin. As the two messages of ASGI they would be looked through twice, and take a
fifth of the time that everything else about a short call does. Where a scope's ``extensions`` have `WHOLE`, an
application may send one message of that type instead: with ``status``, ``headers`` (``content-length`` among them) and
``body``.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WHOLE = "http.response.whole"
EXTENSIONS: dict[str, dict[str, Any]] = {WHOLE: {}}

_UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # for a header's value


class Exchange(RequestResponseCycle):
    """uvicorn's, with answers sent as one message."""

    async def receive(self) -> Any:
        """See ASGI. A body that is complete is given at once."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected or not self.message_event.is_set():
            return await super().receive()
        if self.response_complete:
            return {"type": "http.disconnect"}
        self.message_event.clear()
        self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """See ASGI; and `WHOLE`."""
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self.answer(message["status"], message["headers"], message["body"])

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer, to a client that has none yet and takes what is sent. `headers` have the body's length, and
        names in small letters."""
        if self.response_started:
            raise RuntimeError("the answer has begun already")
        parts = [STATUS_LINE[status]]
        says_close = False
        for name, value in (*self.default_headers, *headers):
            if _UNFIT.search(value):
                raise RuntimeError(f"the header {name!r} can't have this value")
            if name == b"connection" and b"close" in value.lower():
                self.keep_alive, says_close = False, True
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive or says_close else b"connection: close\r\n\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join(parts))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
