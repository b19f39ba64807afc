"""Files that are written whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class FullError(OSError):
    """A disk or a quota is full; as text, one line to print."""

    def __str__(self) -> str:
        return self.strerror


@contextmanager
def disk(what: Path | str | Callable[[], str]) -> Iterator[None]:
    """Name `what` is written where a disk or a quota is full in the block: a file, or a file and the bytes it needs."""
    try:
        yield
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT) or isinstance(e, FullError):
            raise
        named = what() if callable(what) else what
        raise FullError(e.errno, f"{named}: {e.strerror}; make room there, then run this again") from None


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends without an error.

    Raises
    ------
    FullError
        The disk is full.
    """
    path = Path(path)
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)


def shown(path: Path | str) -> str:
    """Return a path as text that can be printed and stored: bytes that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()
