"""Tags: where shots start in recordings."""

from gunshot.tags.table import (
    COMMAS,
    ChangedError,
    Home,
    Tag,
    amend,
    before_semicolons,
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
    "COMMAS",
    "ChangedError",
    "Home",
    "Tag",
    "amend",
    "before_semicolons",
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
