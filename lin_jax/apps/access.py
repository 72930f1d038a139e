"""Who may ask the server, by a key, and how often."""

import base64
import binascii
import collections
import hmac
import time

from fastapi.responses import JSONResponse

OPEN = ("/v1/health", "/api/health")  # asked by whatever watches the server, which has no key
API = ("/v1/", "/api/")
MAX_CLIENTS = 10_000  # that are remembered
MINUTE = 60.0


class Access:
    """An ASGI application in front of another.

    Requests without the key are refused: programs send it as `Authorization: Bearer KEY`, and
    browsers ask for it as the password of any user. So is work, which is whatever is posted, beyond
    so much a minute: each client has a bucket of tokens that fills up steadily.

    Args:
        app: the other one.
        key: the key; "" takes everybody.
        rate: requests a minute that each client may post; 0 takes any number.
    """

    def __init__(self, app, key: str = "", rate: float = 0.0):
        self.app, self._key, self._rate = app, key.encode(), rate
        self._buckets: collections.OrderedDict = collections.OrderedDict()

    async def __call__(self, scope, receive, send):
        """See ASGI."""
        answer = self._refusal(scope) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    def _refusal(self, scope) -> JSONResponse | None:
        """The answer in place of that of the application, if there is one."""
        if self._key and scope["path"] not in OPEN and not self._has_key(scope):
            scheme = "Bearer" if scope["path"].startswith(API) else 'Basic realm="lin_jax"'
            problem = "no key, or another one; send it as Authorization: Bearer KEY"
            return JSONResponse({"error": problem}, 401, {"WWW-Authenticate": scheme})
        if self._rate and scope["method"] == "POST" and (seconds := self._seconds_to_wait(scope)):
            problem = f"{self._rate:g} requests a minute are taken; ask again in {seconds} s"
            return JSONResponse({"error": problem}, 429, {"Retry-After": str(seconds)})
        return None

    def _has_key(self, scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, secret = given.partition(b" ")
        if scheme.lower() == b"basic":
            try:
                _, _, secret = base64.b64decode(secret, validate=True).partition(b":")
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(secret, self._key)  # in constant time

    def _seconds_to_wait(self, scope) -> int:
        """Takes a token of the client, if there is one; else seconds until there is."""
        client, now = (scope.get("client") or ("",))[0], time.monotonic()
        most = max(1.0, self._rate)
        tokens, before = self._buckets.pop(client, (most, now))
        tokens = min(most, tokens + (now - before) * self._rate / MINUTE)
        taken = tokens >= 1.0
        self._buckets[client] = tokens - taken, now
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if taken else int((1.0 - tokens) * MINUTE / self._rate) + 1
