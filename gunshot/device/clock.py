"""Whether this machine's clock is right, as its operating system says."""

import ctypes
import math
import sys
import time
from pathlib import Path

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2): also where nobody disciplines the clock
MAXERROR = 2  # after struct timeval's two, in glibc's struct ntptimeval

# systemd-timesyncd touches this file at each answer of its server, the last one half an hour ago at most. The bound
# that it gives the kernel then is 0, although it is off by half the way of that answer at most, and as its server is.
# 0.2 s is assumed. In a container that does not see the file the bound stays 0: DOC/hub.md says what to do.
TIMESYNCD, ASKS_S, SNTP_US = Path("/run/systemd/timesync/synchronized"), 3600.0, 200_000


def error_us() -> int | None:
    """Return how far the clock may be off, microseconds, by ntp_gettime(3): None where the system cannot say.

    It is the bound (maxerror) that chronyd or ntpd gave the kernel, which lets it grow by 0.5 ms a second until the
    next time; not their estimate (esterror), which the error may well exceed. systemd-timesyncd gives no bound, and
    SNTP_US stands for it. One of those must be running: a clock that was set by hand counts as not known.
    """
    if sys.platform != "linux":
        return None
    try:
        read = ctypes.CDLL(None).ntp_gettime
    except AttributeError:  # musl has none
        return None
    values = (ctypes.c_long * 16)()  # more than the struct has
    if read(values) in (UNSYNCHRONISED, -1):
        return None
    return values[MAXERROR] + (SNTP_US if _is_timesyncd() else 0)


def unix_us(monotonic_s: float) -> tuple[int, int]:
    """Return what the clock was at a time of the monotonic one, a moment ago, microseconds since 1970, and its error.

    The error is that of reading two clocks alone: another process may run between them.
    """
    before_s, now_us, after_s = time.monotonic(), time.time_ns() // 1000, time.monotonic()
    return now_us - round((before_s - monotonic_s) * 1e6), math.ceil((after_s - before_s) * 1e6) + 1


def _is_timesyncd() -> bool:
    """Return whether systemd-timesyncd disciplines the clock."""
    try:
        return time.time() - TIMESYNCD.stat().st_mtime < ASKS_S
    except OSError:
        return False
