"""Files that are written whole or not at all, and how their names are shown."""

import errno
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
BARRED = (errno.EACCES, errno.EPERM, errno.EROFS)
SUFFIX = ".part"  # of a file that is not whole yet
_written: ContextVar[list[Path] | None] = ContextVar("_written", default=None)


class WriteError(OSError):
    """A file cannot be written; as text, one line to print."""

    def __str__(self) -> str:
        return self.strerror


class FullError(WriteError):
    """A disk or a quota is full."""


@contextmanager
def disk(what: Path | str | Callable[[], str]) -> Iterator[None]:
    """Name `what` is written where the block cannot: a file, or a file and the bytes it needs.

    Raises
    ------
    FullError
        A disk or a quota is full.
    WriteError
        The user may not write there, or nobody may.
    """
    try:
        yield
    except OSError as e:
        if e.errno not in {*FULL, *BARRED} or isinstance(e, WriteError):
            raise
        named = shown(what() if callable(what) else what)
        if e.errno in FULL:
            raise FullError(e.errno, f"{named}: {e.strerror}; make room there, then run this again") from None
        user = f"user {os.getuid()} must be allowed to write there"
        raise WriteError(e.errno, f"{named}: {e.strerror}; {user}; or choose another place") from None


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends without an error.

    Raises
    ------
    WriteError
        The disk is full, or the user may not write there.
    """
    path = Path(path)
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=SUFFIX)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    if (paths := _written.get()) is not None:
        paths.append(path)


def _prefix(path: Path) -> str:
    return f".{path.name[:40]}."


@contextmanager
def without_rests() -> Iterator[None]:
    """Remove, at the end, the temporary files of others for what was written by `atomic` in the block.

    For work that is done again because a process that did it was killed: nobody else may write these files.
    """
    token = _written.set([])
    try:
        yield
        prefixes: dict[Path, set[str]] = {}
        for path in _written.get() or ():
            prefixes.setdefault(path.parent, set()).add(_prefix(path))
        for folder, known in prefixes.items():
            for rest in folder.glob(f".*{SUFFIX}"):
                if rest.name.removesuffix(SUFFIX).rpartition(".")[0] + "." in known:
                    rest.unlink(missing_ok=True)
    finally:
        _written.reset(token)


def shown(name: Path | str) -> str:
    """Return a path or a name as text on one line: control characters, and bytes that are no UTF-8, are escaped.

    Examples
    --------
    >>> print(shown("two\\nlines.wav"), shown(os.fsdecode(b"caf\\xe9.wav")))
    two\\nlines.wav caf\\udce9.wav
    """
    return "".join(c.encode("unicode_escape").decode() if is_escaped(c) else c for c in str(name))


def is_escaped(character: str) -> bool:
    """Return whether `shown` escapes a character: it is of no text, or ends a line."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
