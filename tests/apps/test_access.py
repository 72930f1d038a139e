"""Who may ask the server, and how often."""

import base64

import pytest
from fastapi import testclient

from lin_jax.apps import access
from lin_jax.apps.guard import Guard

KEY = "a key with ünicode"


async def answer(scope, receive, send):
    """An application that is there."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def basic(secret):
    return "Basic " + base64.b64encode(secret.encode()).decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        (f"Bearer {KEY}x", 401),
        ("Bearer ", 401),
        (f"Token {KEY}", 401),
        (basic(f"anybody:{KEY}"), 200),
        (basic("anybody:x"), 401),
        (basic(KEY), 401),
        ("Basic &", 401),
    ],
)
def test_a_key_is_asked_for(given, status):
    client = testclient.TestClient(access.Access(answer, KEY))
    headers = {"authorization": given.encode()} if given else {}
    reply = client.get("/v1/models", headers=headers)
    assert reply.status_code == status
    if status == 401:
        assert reply.json()["error"].startswith("no key, or another one")
        assert reply.headers["www-authenticate"] == "Bearer"


def test_a_browser_asks_for_it_and_what_watches_needs_none():
    client = testclient.TestClient(access.Access(answer, KEY))
    assert client.get("/").headers["www-authenticate"] == 'Basic realm="lin_jax"'
    assert client.get("/v1/health").status_code == 200
    assert client.get("/v1/metrics").status_code == 401
    assert testclient.TestClient(access.Access(answer)).get("/").status_code == 200


def test_each_client_has_so_many_requests_a_minute(monkeypatch):
    now = 100.0
    monkeypatch.setattr(access.time, "monotonic", lambda: now)
    app = access.Access(answer, rate=3.0)
    client, other = (testclient.TestClient(app, client=(host, 1)) for host in ("a", "b"))
    assert [client.post("/").status_code for _ in range(4)] == [200, 200, 200, 429]
    reply = client.post("/")
    assert (reply.headers["retry-after"], reply.json()) == (
        "21",
        {"error": "3 requests a minute are taken; ask again in 21 s"},
    )
    assert other.post("/").status_code == client.get("/").status_code == 200
    now += 21
    assert [client.post("/").status_code for _ in range(2)] == [200, 429]


def test_fewer_than_one_request_a_minute(monkeypatch):
    now = 100.0
    monkeypatch.setattr(access.time, "monotonic", lambda: now)
    client = testclient.TestClient(access.Access(answer, rate=0.5))
    assert [client.post("/").status_code for _ in range(2)] == [200, 429]
    now += 121
    assert client.post("/").status_code == 200


def test_so_many_clients_are_remembered(monkeypatch):
    monkeypatch.setattr(access, "MAX_CLIENTS", 2)
    app = access.Access(answer, rate=1.0)
    for host in ("a", "b", "c"):
        testclient.TestClient(app, client=(host, 1)).post("/")
    assert list(app._buckets) == ["b", "c"]


def test_pages_of_allowed_sites_may_post():
    app = Guard(answer, origins=["https://a.example"])
    client = testclient.TestClient(app, base_url="http://localhost")
    site = {"sec-fetch-site": "cross-site"}
    statuses = [
        client.post("/", headers=site | {"origin": f"https://{name}.example"}).status_code
        for name in "ab"
    ]
    assert statuses == [200, 403]
