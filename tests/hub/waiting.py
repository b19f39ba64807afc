"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable

PATIENCE_S = 30.0


def until(true: Callable[[], bool], what: str | Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition; `what` it is, or the log of what did not come to it."""
    end = time.monotonic() + patience_s
    while not true():
        late = time.monotonic() > end
        assert not late, f"not within {patience_s:g} s: {what() if callable(what) else what}"
        time.sleep(0.02)
