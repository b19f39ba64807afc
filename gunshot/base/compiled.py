"""Loops that Numba compiles, kept on the disk where it can write: beside the code, or in the home's .cache."""

from collections.abc import Callable

from numba import njit


def compiled(**options) -> Callable[[Callable], Callable]:
    """Return a decorator that compiles a function when it is first called, with `options` of `numba.njit`.

    What was compiled is kept for the next process. Where there is no place for it (a service without a home, an
    installation that is read-only) each process compiles anew, which takes seconds; NUMBA_CACHE_DIR names a place.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # cannot cache function: no locator available
            return njit(**options)(function)

    return decorate
