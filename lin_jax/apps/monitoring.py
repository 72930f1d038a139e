"""What is recorded of requests: a line of JSON each, and counts and times for Prometheus.

Nothing of what was sent is recorded, neither names of recordings nor texts, and not who asked.
"""

import datetime
import json
import time
from collections.abc import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

MEDIA_TYPE = CONTENT_TYPE_LATEST
LEFT = 499  # the status of a request whose client has gone before it was answered
SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # bounds of the histogram


class Recorder:
    """Counts and times of requests.

    Args:
        lines: where to a line of JSON for each request is written; None for nowhere.
    """

    def __init__(self, lines=None):
        self._lines, self._registry = lines, CollectorRegistry()
        self._requests = Counter(
            "lin_requests",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lin_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._waiting = Gauge(
            "lin_work_waiting", "Pieces of work in the queue.", ["job"], registry=self._registry
        )

    def exposition(self, waiting: Mapping[str, int]) -> str:
        """The counts and times in Prometheus's text format.

        Args:
            waiting: pieces of work in the queue of each job.
        """
        for job, count in waiting.items():
            self._waiting.labels(job).set(count)
        return generate_latest(self._registry).decode()

    def record(self, scope, status: int, seconds: float):
        """Keep what became of a request.

        Args:
            scope: of ASGI, after it was answered.
            status: of the answer.
            seconds: that it took.
        """
        route = _route(scope)
        # What a client may choose freely would make a label without bounds.
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route).observe(seconds)
        if self._lines and (route != "page" or status >= 400):
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            row = {"time": now, "method": method, "route": route, "status": status}
            print(json.dumps(row | {"seconds": round(seconds, 4)}), file=self._lines, flush=True)


class Watch:
    """An ASGI application in front of another, whose requests it records.

    Args:
        app: the other one.
        recorder: where.
    """

    def __init__(self, app, recorder: Recorder):
        self.app, self._recorder = app, recorder

    async def __call__(self, scope, receive, send):
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), LEFT

        async def respond(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, respond)
        finally:
            self._recorder.record(scope, status, time.monotonic() - started)


def _route(scope) -> str:
    """The address as the API declares it, "unknown" of others below it, or "page"."""
    path = getattr(scope.get("route"), "path", None)
    if scope["path"].startswith(("/v1", "/api")):
        return f"{scope.get('root_path', '')}{path}" if path else "unknown"
    return "page"
