"""What stands between the network and the page: too large requests are refused before they are read, and the browser is
told to ask no other machine for anything."""

from __future__ import annotations

import json

from .web_limits import Limits

#: gradio compiles its own templates and styles itself from within; everything else comes from this server.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}
ROOM = 1_000_000  # bytes of a request besides the file


class Guard:
    """The limits that hold for every request."""

    def __init__(self, limits: Limits):
        self.limits = limits

    @property
    def most(self) -> int:
        return self.limits.upload_mb * 1_000_000 + ROOM

    @property
    def sentence(self) -> str:
        return f"The file is larger than {self.limits.upload_mb} MB: give a smaller one."


class _Guarded:
    """ASGI middleware."""

    def __init__(self, app, guard: Guard):
        self.app, self.guard = app, guard

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > self.guard.most:
            await _refuse(send, self.guard.sentence)
            return

        async def answer(message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *((n, v) for n, v in HEADERS.items() if n not in given)]
            await send(message)

        await self.app(scope, receive, answer)


async def _refuse(send, sentence: str) -> None:
    body = json.dumps({"detail": sentence, "error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def middleware(guard: Guard) -> list:
    """For the application's `middleware`."""
    from starlette.middleware import Middleware

    return [Middleware(_Guarded, guard=guard)]
