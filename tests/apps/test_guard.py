"""The guard: who may ask the server, how much may be sent, and how slowly."""

import asyncio
import socket
import threading
import time

import pytest
import uvicorn
from fastapi import testclient

from lin_jax.apps import guard


async def count_bytes(scope, receive, send):
    """An application that answers with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def client():
    app = guard.Guard(count_bytes, ["voices.example"], max_megabytes=0.01)
    return testclient.TestClient(app, base_url="http://localhost")


def scope(path="/v1/x", **headers):
    pairs = [
        (name.encode(), text.encode()) for name, text in ({"host": "localhost"} | headers).items()
    ]
    return {"type": "http", "method": "POST", "path": path, "headers": pairs}


def ask(app, receive, path="/v1/x", **headers):
    """What an application sends to whoever sends it that."""
    messages = []

    async def send(message):
        messages.append(message)

    asyncio.run(app(scope(path, **headers), receive, send))
    return messages


def test_the_body_is_counted_whatever_its_header_says():
    sent = 0

    async def receive():
        nonlocal sent
        sent += 1000
        return {"type": "http.request", "body": bytes(1000), "more_body": True}

    app = guard.Guard(count_bytes, max_megabytes=0.01)
    start, body = ask(app, receive, **{"content-length": "10", "transfer-encoding": "chunked"})
    assert start["status"] == 413
    assert b"0 MB are too large, 0.01 MB are taken" in body["body"]
    assert sent == 11_000


def test_an_announced_body_that_is_too_large_is_not_read(client):
    assert client.post("/", content=bytes(10_001)).status_code == 413
    assert client.post("/", content=bytes(10_000)).text == "10000"
    assert client.post("/", content=iter([b"1", b"23"])).text == "3", "chunks are taken, too"
    assert client.post("/", headers={"content-length": "ten"}).status_code == 400


def test_a_slow_body_is_cut(monkeypatch):
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.05)
    first = [{"type": "http.request", "body": b"a", "more_body": True}]

    async def receive():
        if first:
            return first.pop()
        await asyncio.sleep(60)

    start, body = ask(guard.Guard(count_bytes), receive)
    assert (start["status"], body["body"][:30]) == (408, b'{"error":"the upload comes too')


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200),
        ("127.0.0.1:7860", 200),
        ("[::1]:7860", 200),
        ("voices.example", 200),
        ("VOICES.example:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("[", 421),
        ("", 421),
    ],
)
def test_only_names_that_are_allowed(client, host, status):
    assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_may_not_post(client, headers, status):
    assert client.post("/", headers=headers).status_code == status


def test_browsers_are_told_not_to_guess_or_frame(client):
    for answer in (client.get("/"), client.get("/", headers={"host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/v1/speak", "/api/speak"])
def test_work_for_a_client_that_has_gone_is_cancelled(path):
    cancelled = []

    async def work(scope, receive, send):
        await receive()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    messages = iter([{"type": "http.request", "body": b""}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    assert ask(guard.Guard(work), receive, path) == []
    assert cancelled


def test_a_connection_whose_head_does_not_come_is_cut(monkeypatch):
    monkeypatch.setattr(guard, "HEADER_SECONDS", 0.3)
    app = guard.Guard(count_bytes)
    config = uvicorn.Config(app, http=guard.Connection, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            for start in (b"", b"GET / HTTP/1.1\r\nHo"):
                with socket.create_connection(listening.getsockname(), timeout=10) as connection:
                    connection.sendall(start)
                    started = time.monotonic()
                    assert _read(connection) == b""
                    assert time.monotonic() - started < 5
            with socket.create_connection(listening.getsockname(), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert _read(connection).startswith(b"HTTP/1.1 200")
        finally:
            server.should_exit = True
            thread.join(10)


def _read(connection) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""
