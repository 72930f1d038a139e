"""Work that is given up: whoever does it asks between its steps whether it is still wanted."""

import contextlib
import contextvars
import threading
from collections.abc import Iterator

from lin_jax.errors import WorkCancelledError

_given_up: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "given_up", default=None
)


@contextlib.contextmanager
def given_up_by(event: threading.Event) -> Iterator[None]:
    """Where `check` raises as soon as the event, of any thread, is set."""
    token = _given_up.set(event)
    try:
        yield
    finally:
        _given_up.reset(token)


def check():
    """Raises WorkCancelledError if what calls it has been given up."""
    event = _given_up.get()
    if event and event.is_set():
        raise WorkCancelledError("nobody waits for this any more")
