"""Whether this machine's clock is right, as its operating system says."""

import ctypes
import sys

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2): also where nobody disciplines the clock
MAXERROR = 2  # after struct timeval's two, in glibc's struct ntptimeval


def error_us() -> int | None:
    """Return how far the clock may be off, microseconds, by ntp_gettime(3): None where the system cannot say.

    It is the bound that chronyd, ntpd or systemd-timesyncd gave the kernel, which lets it grow until the next time. One
    of those must be running: a clock that was set by hand counts as not known.
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
    return values[MAXERROR]
