"""What stands between the network and the page: too large requests are refused before they are read, addresses that
the page does not use are not there, and the browser is told to ask no other machine for anything."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

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

#: What a browser and gradio's client ask for. gradio serves much more: recordings, other machines' pages, its editor.
_PAGES = {"/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"}
_PARTS = ("/static/", "/assets/", "/svelte/", "/live/")
_API = "/gradio_api/"
_UPLOAD = "upload"
_CALLS = {"info", "openapi.json", "theme.css", "startup-events", "app_id", _UPLOAD, "upload_progress"}
_CALLS |= {"cancel", "reset"}
_CALL_PARTS = ("queue/", "call/", "run/", "heartbeat/")
_FILE = "file="


class Guard:
    """The limits that hold for every request.

    uploads: the only folder whose files are served.
    """

    def __init__(self, limits: Limits, uploads: Path):
        self.limits = limits
        self.uploads = os.path.realpath(uploads)

    def knows(self, path: str) -> bool:
        """Whether the page uses an address (decoded, without the host)."""
        if not path.startswith(_API):
            return path in _PAGES or path.startswith(_PARTS)
        call = path.removeprefix(_API).rstrip("/")
        if call.startswith(_FILE):
            return self.serves(call.removeprefix(_FILE))
        return call in _CALLS or call.startswith(_CALL_PARTS)

    def serves(self, file: str) -> bool:
        """Whether a file was uploaded to the page or made by it."""
        if "\0" in file or not os.path.isabs(file):
            return False
        return Path(os.path.realpath(file)).is_relative_to(self.uploads)

    def most(self, path: str) -> int:
        """Bytes that a request to an address may have."""
        return ROOM + self.limits.upload_mb * 1_000_000 * (path.rstrip("/") == _API + _UPLOAD)

    def sentence(self, path: str) -> str:
        """What is said of a request with more bytes than that."""
        if self.most(path) > ROOM:
            return f"The file is larger than {self.limits.upload_mb} MB: give a smaller one."
        return "The request is too large: upload files first, and name them in the call."


class _Guarded:
    """ASGI middleware."""

    def __init__(self, app, guard: Guard):
        self.app, self.guard = app, guard

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not self.guard.knows(scope["path"]):
            await _refuse(send, 404, "There is nothing here.")
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        left = self.guard.most(scope["path"])
        if not length.isdigit() or int(length) > left:
            await _refuse(send, 413, self.guard.sentence(scope["path"]))
            return

        async def more():
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        async def answer(message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *((n, v) for n, v in HEADERS.items() if n not in given)]
            await send(message)

        try:
            await self.app(scope, more, answer)
        except (KeyError, TypeError) as error:  # gradio's, before it answers; it would print a stack and say nothing
            fault = _fault_of_call(scope["path"], error)
            if fault is None:
                raise
            await _refuse(send, *fault)


def _fault_of_call(path: str, error: Exception) -> tuple[int, str] | None:
    """Status and sentence for a call of an endpoint that is not there, or with parameters that it has not."""
    call = path.rstrip("/").rpartition("/")
    if not call[0].startswith(f"{_API}call"):
        return None
    if isinstance(error, KeyError):
        return (404, "There is nothing here.") if error.args == (f"/{call[2]}",) else None
    said = re.search(r"Parameter `(.*)` is not a valid", str(error))
    if said is None:
        return None
    return 422, f'{call[2]} has no parameter {said[1][:60]!r}: "Use via API" on the page lists those that it has.'


async def _refuse(send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence, "error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def middleware(guard: Guard) -> list:
    """For the application's `middleware`."""
    from starlette.middleware import Middleware

    return [Middleware(_Guarded, guard=guard)]
