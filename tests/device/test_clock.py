"""The clock's error against what the C library's own headers and the kernel say."""

import ctypes
import os
import subprocess
import time
import types
from pathlib import Path

import pytest

from gunshot.device import clock

PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <sys/timex.h>
int main(void) {
  struct ntptimeval now;
  int state = ntp_gettime(&now);
  printf("%zu %d %d %ld", offsetof(struct ntptimeval, maxerror) / sizeof(long), TIME_ERROR, state, now.maxerror);
}
"""


def test_it_is_what_c_reads(tmp_path):
    (tmp_path / "now.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-o", tmp_path / "now", tmp_path / "now.c"], check=True)
    place, error, state, most = map(int, subprocess.check_output([tmp_path / "now"]).split())
    assert (place, error) == (clock.MAXERROR, clock.UNSYNCHRONISED)
    now = clock.error_us()
    most += clock.SNTP_US * clock._is_timesyncd()
    if state in (error, -1):
        assert now is None
    else:
        assert abs(now - most) < 100_000  # it grows by half a millisecond a second


@pytest.mark.parametrize(("state", "expected"), [(0, 1234), (1, 1234), (5, None), (-1, None)])
def test_only_a_clock_that_is_synchronised_has_an_error(monkeypatch, state, expected):
    class Library:
        @staticmethod
        def ntp_gettime(values):
            values[:4] = [1, 2, 1234, 99]
            return state

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    monkeypatch.setattr(clock, "TIMESYNCD", Path("/nowhere"))
    assert clock.error_us() == expected


@pytest.mark.parametrize(("age_s", "more_us"), [(None, 0), (2100.0, clock.SNTP_US), (4000.0, 0)])
def test_systemd_timesyncd_tells_the_kernel_no_bound(monkeypatch, tmp_path, age_s, more_us):
    """It calls it 0 each time, which is not believed; what it left when another took over is old."""
    if age_s is not None:
        (tmp_path / "synchronized").touch()
        os.utime(tmp_path / "synchronized", times=(0, time.time() - age_s))
    monkeypatch.setattr(clock, "TIMESYNCD", tmp_path / "synchronized")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: types.SimpleNamespace(ntp_gettime=lambda values: 0))
    assert clock.error_us() == more_us


def test_a_time_of_the_monotonic_clock_is_one_of_the_other():
    before_us, then_s = time.time_ns() // 1000, time.monotonic()
    unix_us, error_us = clock.unix_us(then_s)
    assert before_us - error_us <= unix_us <= time.time_ns() // 1000 + error_us


def test_without_the_call_the_clock_is_not_known(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert clock.error_us() is None
