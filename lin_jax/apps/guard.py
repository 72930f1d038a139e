"""What stands between the network and the applications: who may ask, how much, and for how long."""

import asyncio
import ipaddress
import time
import urllib.parse
from collections.abc import Collection
from typing import Any

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # in which the head of a request must have come
# A body must come no slower than this, and an answer be taken no slower than this a part.
GRACE_SECONDS, BYTES_PER_SECOND = 20.0, 10_000
SEND_SECONDS = 60.0
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"same-origin"),
)


class Connection(H11Protocol):
    """A connection that is cut if the head of a request does not come in time."""

    _timer = None

    def connection_made(self, transport):
        """Begin to wait."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data):
        """Wait no longer, unless more of the head is to come."""
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc):
        """Wait no longer."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    def _await_head(self):
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._timer:
            self._timer.cancel()
            self._timer = None
        elif not answering and not self._timer:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


class Guard:
    """An ASGI application in front of another.

    Requests for hosts that are not allowed, and posts from pages of other sites, are refused; no
    more of a body is taken than is allowed, whatever its header says, and none that comes too
    slowly; and when a client has gone, what it has asked of the API is cancelled.

    Args:
        app: the other one.
        hosts: names by which this server may be asked; addresses always may.
        max_megabytes: of a body.
        origins: of other sites whose pages may post.
    """

    def __init__(
        self,
        app,
        hosts: Collection[str] = (),
        max_megabytes: float = 200.0,
        origins: Collection[str] = (),
    ):
        self.app, self._max_megabytes, self._origins = app, max_megabytes, origins
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    async def __call__(self, scope, receive, send):
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:  # nothing here speaks by WebSocket
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope, receive, send):
        body = _Body(receive, self._max_megabytes)
        body.problem = self._problem(scope)
        if body.problem is None:
            await self._pass_on(scope, body, send)
        if body.problem and not body.answered:
            status, text = body.problem
            answer = JSONResponse({"error": text}, status, headers={"connection": "close"})
            await answer(scope, receive, send)

    def _problem(self, scope) -> tuple[int, str] | None:
        """Why a request is refused because of its head: status and line."""
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        host = headers.get("host", "")
        if not self._is_allowed(host):
            return 421, f"{host}: not a name of this server; allow it with --allow-host"
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin not in self._origins:
            elsewhere = origin is not None and urllib.parse.urlsplit(origin).netloc != host
            if elsewhere or headers.get("sec-fetch-site") == "cross-site":
                return 403, f"{origin}: pages of other sites may not ask this server"
        size = headers.get("content-length", "0")
        if not size.isascii() or not size.isdigit():
            return 400, f"Content-Length {size}: not a number"
        if int(size) > 1e6 * self._max_megabytes:
            return _too_large(int(size), self._max_megabytes)
        return None

    def _is_allowed(self, host: str) -> bool:
        name = None
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    async def _pass_on(self, scope, body, send):
        async def respond(message):
            if body.problem is None:
                body.answered = True
                body.finished = not message.get("more_body", message["type"].endswith("start"))
                await asyncio.wait_for(send(message), SEND_SECONDS)

        task = asyncio.ensure_future(self.app(scope, body.receive, respond))
        watch = scope["path"].startswith(("/v1/", "/api/"))
        watcher = asyncio.ensure_future(body.cancel_when_gone(task)) if watch else None
        try:
            await task
        except asyncio.CancelledError:
            if not body.gone.is_set():
                raise
        except (_RefusedError, TimeoutError):
            body.problem = body.problem or (408, "the answer was taken too slowly")
        finally:
            if watcher:
                watcher.cancel()


class _RefusedError(Exception):
    """No more of a body is taken."""


class _Body:
    """The body of a request as it arrives.

    Attributes:
        problem: status and line for which it is refused.
        answered: whether an answer has begun.
        finished: whether it has been sent.
        gone: is set when the client has gone.
    """

    def __init__(self, receive, max_megabytes: float):
        self._receive, self._max_megabytes = receive, max_megabytes
        self._started, self._bytes = time.monotonic(), 0
        self._complete, self.gone = asyncio.Event(), asyncio.Event()
        self.problem: tuple[int, str] | None = None
        self.answered = self.finished = False
        self._watched = False

    async def receive(self) -> dict[str, Any]:
        """The next message for the application; see ASGI."""
        if self._complete.is_set():
            if not self._watched:
                return await self._receive()
            await self.gone.wait()
            return {"type": "http.disconnect"}
        deadline = self._started + GRACE_SECONDS + self._bytes / BYTES_PER_SECOND
        try:
            message = await asyncio.wait_for(self._receive(), deadline - time.monotonic())
        except TimeoutError:
            self.problem = 408, "the upload comes too slowly; send it again"
            raise _RefusedError from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > 1e6 * self._max_megabytes:
            self.problem = _too_large(self._bytes, self._max_megabytes)
            raise _RefusedError
        if not message.get("more_body"):
            self._complete.set()
        return message

    async def cancel_when_gone(self, task: asyncio.Future):
        """Cancel what is done for a client that leaves before it has its answer."""
        self._watched = True
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.finished:
            self.gone.set()
            task.cancel()


def _too_large(size: int, limit: float) -> tuple[int, str]:
    problem = f"{size / 1e6:.0f} MB are too large, {limit:g} MB are taken"
    return 413, f"{problem}; send FLAC or MP3, or use the command line"


def _with_headers(send):
    async def respond(message):
        if message["type"] == "http.response.start":
            message = message | {"headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return respond
