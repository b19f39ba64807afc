"""Tags: where shots start in recordings."""

from gunshot.tags.table import (
    ChangedError,
    Home,
    Tag,
    amend,
    check,
    gather,
    home,
    is_nameable,
    parse,
    read,
    state,
    unique,
    write,
)

__all__ = [
    "ChangedError",
    "Home",
    "Tag",
    "amend",
    "check",
    "gather",
    "home",
    "is_nameable",
    "parse",
    "read",
    "state",
    "unique",
    "write",
]
