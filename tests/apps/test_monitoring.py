"""What is recorded of requests: lines of JSON and counts, and nothing of what was sent."""

import io
import json

import pytest
from fastapi import FastAPI, testclient

from lin_jax.apps import monitoring


@pytest.fixture
def served():
    """A client of an API that is watched, the lines and the recorder."""
    lines = io.StringIO()
    recorder, api, app = monitoring.Recorder(lines), FastAPI(), FastAPI()

    @api.post("/gender")
    def answer(secret: str):
        return {}

    @api.get("/broken")
    def fail():
        raise RuntimeError(1)

    app.mount("/v1", api)
    watched = monitoring.Watch(app, recorder)
    return testclient.TestClient(watched, raise_server_exceptions=False), lines, recorder


def test_each_request_is_a_line_without_contents(served):
    client, lines, _ = served
    client.post("/v1/gender?secret=anna.wav")
    client.post("/v1/gender")
    client.get("/v1/anna.wav")
    client.get("/v1/broken")
    client.get("/anna.wav")
    client.request("ANNA", "/v1/gender")
    rows = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(row["route"], row["method"], row["status"]) for row in rows] == [
        ("/v1/gender", "POST", 200),
        ("/v1/gender", "POST", 422),
        ("unknown", "GET", 404),
        ("/v1/broken", "GET", 500),
        ("page", "GET", 404),
        ("/v1/gender", "other", 405),
    ]
    assert set(rows[0]) == {"time", "method", "route", "status", "seconds"}
    assert "anna" not in lines.getvalue().lower()


def test_counts_and_times_are_for_prometheus(served):
    client, _, recorder = served
    for _ in range(3):
        client.post("/v1/gender?secret=1")
    text = recorder.exposition({"gender": 2})
    assert 'lin_requests_total{method="POST",route="/v1/gender",status="200"} 3.0' in text
    assert 'lin_request_seconds_count{route="/v1/gender"} 3.0' in text
    assert 'lin_work_waiting{job="gender"} 2.0' in text


def test_a_client_that_has_gone_is_counted():
    async def leave(scope, receive, send):
        raise ConnectionResetError

    recorder = monitoring.Recorder()
    client = testclient.TestClient(monitoring.Watch(leave, recorder), raise_server_exceptions=False)
    client.get("/")
    assert 'route="page",status="499"} 1.0' in recorder.exposition({})
