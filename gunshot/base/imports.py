"""Large libraries without their optional parts, whose import costs more than all that we do with the library."""

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType


class Later(ModuleType):
    """A module that is imported when something of it is first used."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def without(*names: str, later: tuple[str, ...] = ()) -> Iterator[None]:
    """Import what is imported meanwhile as if the modules `names` were not installed, and those of `later` when used.

    Modules that are loaded already stay as they are. Garbage is not collected meanwhile: thousands of new functions and
    classes, none of which goes, would be looked through again and again.

    Examples
    --------
    >>> with without("sqlite3"):
    ...     import sqlite3
    Traceback (most recent call last):
    ModuleNotFoundError: import of sqlite3 halted; None in sys.modules
    """
    stand_ins: dict[str, ModuleType | None] = dict.fromkeys(names) | {name: Later(name) for name in later}
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    collects = gc.isenabled()
    sys.modules.update(stand_ins)
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name in stand_ins:
            del sys.modules[name]
