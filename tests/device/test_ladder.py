"""First days: how often a device goes up a rung where it should and should not, what a restart keeps, what it says."""

import dataclasses
import itertools
import logging
import time
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from gunshot.base import audio, pipeline
from gunshot.base.files import FullError
from gunshot.cli import device
from gunshot.detect.listener import Listener
from gunshot.device import ladder, messages, near, run
from gunshot.device.ladder import ALPHA, HOUR_S, REST_S, Ear, Ladder, Rungs
from gunshot.device.messages import Heartbeat, Incident, State
from gunshot.device.outbox import Outbox
from gunshot.device.topics import SiteProfile
from tests.device.test_near import BIRTH, JUST_ABOVE, LOUD, NOISE, WEAK
from tests.firmware.driven import MODEL, jump, p, shots

LIMIT, MODEL_NUMBER = 0.5, "00000000000000ff"
RUNGS = [JUST_ABOVE - near.BELOW, JUST_ABOVE]  # the weak sound opens an incident at the first alone
EVENT = {"opened": True, "is_open": False}  # an incident that opens and has closed
STILL = {"opened": False, "is_open": False}


def on(
    folder, logits=(0.0, 0.25, 0.5), *, limit: float = LIMIT, profile: str = "", site: str | None = "yard",
    model: str = MODEL_NUMBER,
) -> Ladder:  # fmt: skip
    return Ladder(folder, Rungs(tuple(logits), limit, profile, site), model=model)


def hours_to_climb(folder, rng: np.random.Generator, times: float, *, days: int, quiet_days: int = 0) -> float:
    """When a device goes up, h, where incidents come so many times as often as its limit allows; inf: never.

    It is from the change on where they came half as often before.
    """
    (folder / ladder.FILE).unlink(missing_ok=True)
    one, hour, mean_h = on(folder), -24.0 * quiet_days, 2 / LIMIT
    while (hour := hour + (gap_h := rng.exponential(mean_h if hour < 0 else 1 / (times * LIMIT)))) < 24 * days:
        if one.push(gap_h * HOUR_S, **EVENT) and hour >= 0:
            return hour
    return np.inf


def climbs(folder, times: float, devices: int, **days: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.array([hours_to_climb(folder, rng, times, **days) for _ in range(devices)])


@pytest.mark.slow
def test_at_the_limit_few_go_up_and_at_ten_times_it_all_do_within_hours(tmp_path):
    false = int(np.isfinite(climbs(tmp_path, 1.0, 300, days=14)).sum())
    assert false <= binom.ppf(0.999, 300, ALPHA)
    hours = climbs(tmp_path, 10.0, 60, days=1)
    assert np.isfinite(hours).all() and 2 < np.median(hours) < 4
    assert hours.min() > 3 * REST_S / HOUR_S  # four occasions at least


def test_what_follows_within_half_an_hour_is_one_occasion(tmp_path):
    """Where nothing was before, a fight of less than an hour and a half raises nothing: it is three occasions."""
    one = on(tmp_path)
    incidents = list(itertools.takewhile(lambda _: not one.push(10.0, **EVENT), range(10_000)))
    assert len(incidents) == 3 * REST_S / 10


def test_a_sound_that_goes_on_counts_again_each_half_hour(tmp_path):
    one = on(tmp_path)
    assert not one.push(60.0, opened=True, is_open=True)
    seconds = list(itertools.takewhile(lambda _: not one.push(1.0, opened=False, is_open=True), range(10_000)))
    assert len(seconds) + 1 == 3 * REST_S
    later = on(tmp_path, model="1" * 16)  # one that opens within the rest counts when it has gone on as long
    assert not later.push(60.0, **EVENT) and not later.push(600.0, opened=True, is_open=True)
    seconds = itertools.takewhile(lambda _: not later.push(1.0, opened=False, is_open=True), range(10_000))
    assert len(list(seconds)) + 1 == 3 * REST_S


def test_it_says_that_it_left_a_profile(tmp_path):
    given = SiteProfile(site="yard")
    with closing(Outbox(tmp_path)) as outbox:
        for profile in ("", "0" * 128):
            one = on(tmp_path, RUNGS, profile=profile)
            device = run.Device(Ear(MODEL, RUNGS, p), BIRTH, outbox, p.firmware, climbs=one)
            assert device.said(given) == given
            while not one.push(REST_S, **EVENT):
                pass
            left = "yard: incidents there prove more than the profile's limit of 0.5 an hour; its threshold is "
            left += f"{float(MODEL.calibrated(JUST_ABOVE)):.3f} now; calibrate again"
            assert device.said(given) == (SiteProfile(fault=left) if profile else given)


def test_it_waits_until_the_incident_that_proves_it_has_ended(tmp_path):
    one = on(tmp_path)
    assert not any(one.push(REST_S, **EVENT) for _ in range(3))
    assert not one.push(REST_S, opened=True, is_open=True) and not one.push(10.0, opened=False, is_open=True)
    assert one.push(1.0, **STILL) and not one.push(1.0, **STILL)


@settings(max_examples=40, deadline=None)
@given(
    gaps_s=st.lists(st.floats(1.0, 6 * 3600.0), min_size=1, max_size=40), stops=st.sets(st.integers(0, 39)),
)  # fmt: skip
def test_a_restart_changes_nothing(tmp_path_factory, gaps_s, stops):
    folder, other = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    one, again = on(folder), on(other)
    for i, gap_s in enumerate(gaps_s):
        if i in stops:
            again.save()
            again = on(other)
        assert one.push(gap_s, **EVENT) == again.push(gap_s, **EVENT)
        assert (one.rung, one.logit) == (again.rung, again.logit)
    again.save()
    one.save()
    assert (folder / ladder.FILE).read_text() == (other / ladder.FILE).read_text()


def test_it_ends_at_the_top(tmp_path):
    one = on(tmp_path)
    went = [one.push(REST_S, **EVENT) for _ in range(100)]
    assert sum(went) == one.rung == one.top == 2 and one.logit == 0.5
    assert on(tmp_path).rung == 2  # each is kept at once
    alone = on(tmp_path, [0.0], site="lane")
    assert not any(alone.push(REST_S, **EVENT) for _ in range(100)) and alone.top == 0


def test_a_file_that_is_away_once_lowers_nothing_and_a_new_profile_begins_anew(tmp_path):
    """Without the table of what rungs cost there is one; without a profile that it had, the operating point's."""
    mine, wide = "0" * 128, (0.0, 0.25, 0.5)

    def rung(logits=wide, **more) -> tuple[int, float]:
        one = on(tmp_path, logits, **more)
        one.save()
        return one.rung, one.logit

    one = on(tmp_path, profile=mine)
    while not one.push(REST_S, **EVENT):
        pass
    assert rung(profile=mine) == (1, 0.25)
    assert rung([-1.0, 0.1, 0.3], profile=mine) == (2, 0.3)  # its lowest that is not below
    assert rung([0.0]) == rung([0.0], limit=2.0) == (1, 0.3)  # nothing is as high: it keeps that one
    assert rung(profile=mine) == (2, 0.5)
    assert rung(profile="1" * 128) == (0, 0.0) and rung(profile=mine) == (0, 0.0)


def busy_part_climbs(folder, hours: int, devices: int) -> int:
    """How many devices go up in 30 days where so many hours of each day have all of a day's incidents at the limit."""
    rng, out = np.random.default_rng(7), 0
    for _ in range(devices):
        (folder / ladder.FILE).unlink(missing_ok=True)
        one, last = on(folder), 0.0
        busy = np.cumsum(rng.exponential(hours / (24 * LIMIT), size=round(30 * 24 * LIMIT * 2)))  # on a clock of theirs
        for hour in (busy // hours * 24 + busy % hours)[busy < 30 * hours]:
            if one.push((hour - last) * HOUR_S, **EVENT):
                out += 1
                break
            last = hour
    return out


@pytest.mark.slow
def test_an_average_at_the_limit_is_not_enough(tmp_path):
    """With incidents in four hours of a day alone two of five go up, by far more than ALPHA."""
    assert 25 <= busy_part_climbs(tmp_path, 4, 100) <= 58


@pytest.mark.exhaustive
@pytest.mark.parametrize(("hours", "share"), [(4, 0.39), (8, 0.27), (12, 0.12)])
def test_the_shares_that_the_page_states_of_a_busy_part_of_the_day(tmp_path, hours, share):
    assert busy_part_climbs(tmp_path, hours, 2000) / 2000 == pytest.approx(share, abs=0.01)


def test_a_table_that_the_disk_does_not_give_silences_no_device(tmp_path, monkeypatch, caplog):
    """It may read as a folder, or not at all."""
    caplog.set_level(logging.INFO, "gunshot")
    monkeypatch.setattr(pipeline, "output", lambda _: tmp_path)
    monkeypatch.setattr(type(MODEL), "threshold", lambda _: 0.5)
    assert device._above(MODEL) == (0.5,)
    assert "it goes no higher than the operating point" in caplog.text and str(tmp_path) in caplog.text


def test_what_is_kept_is_of_one_model_site_and_profile_and_may_be_damaged(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "gunshot")
    one = on(tmp_path)
    while not one.push(REST_S, **EVENT):
        pass
    for other in ({"site": "lane"}, {"site": None}, {"model": "0" * 16}, {"profile": "0" * 128}):
        assert on(tmp_path, **other).rung == 0
        assert "is of another model, site or profile; its threshold begins anew" in caplog.text
        caplog.clear()
    assert on(tmp_path).rung == 1 and not caplog.text
    file = tmp_path / ladder.FILE
    whole = file.read_text()
    for text in (
        whole[:30],
        "",
        "[]",
        whole.replace('"rung":1', '"rung":-1'),
        whole.replace('"rung":1', '"rung":3'),
        whole.replace('"hours":0', '"hours":"x"'),
    ):
        assert text != whole
        file.write_text(text)
        assert on(tmp_path).rung == 0 and "cannot be read, its threshold begins anew" in caplog.text
        caplog.clear()
    file.write_bytes(b"\xff\xfe")
    assert on(tmp_path).rung == 0 and "cannot be read" in caplog.text

    def full(_):
        raise FullError(28, "disk: No space left on device; make room there, then run this again")

    monkeypatch.setattr(ladder, "atomic", full)
    one.save()
    assert "a restart will forget what it knows of its threshold: disk: No space left" in caplog.text


@settings(max_examples=6, deadline=None)
@given(peaks=st.lists(st.integers(150, 700), min_size=1, max_size=3), size=st.sampled_from([896, 5000, 200_000]))
def test_an_ear_decides_as_a_listener_at_its_rung_does(peaks, size):
    pcm = np.concatenate([shots([0.5], 2.0, seed=i, peak=peak) for i, peak in enumerate(peaks)])
    for rung, logit in enumerate(RUNGS):
        ear, alone = Ear(MODEL, RUNGS, p, rung=rung), Listener(MODEL, [logit, logit - near.BELOW], p)
        for i in range(0, len(pcm), size):
            every, expected = ear.push(pcm[i : i + size])[0], alone.push(pcm[i : i + size])[0]
            for a, b in zip([*every, *ear.closed()], [*expected, *alone.closed()], strict=True):
                assert np.array_equal(a, b)


def test_a_device_goes_up_says_so_and_hears_less(tmp_path, monkeypatch):
    """Four weak sounds take it up a rung, from which it hears loud ones alone; it waits until the fourth has ended."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(ladder, "REST_S", 2.5)  # seconds of sound, not hours
    section = p.firmware.model_copy(update={"heartbeat_s": 60.0})
    with closing(Outbox(tmp_path)) as outbox:
        outbox.start()
        one = on(tmp_path, RUNGS)
        ear = Ear(MODEL, RUNGS, p, rung=one.rung)
        device = run.Device(ear, BIRTH, outbox, section, error_us=lambda: None, climbs=one)

        def hear(pcm: np.ndarray) -> list[messages.Message]:
            before = len(outbox)
            for i in range(0, len(pcm), 896):
                device.hear(audio.to_float(pcm[i : i + 896]), lost=False)
            return [messages.decode(waiting.payload) for waiting in outbox.first(1000)][before:]

        first = hear(np.concatenate([WEAK] * 3))
        now += 60.0
        (beat,) = hear(NOISE)
        assert beat.rung == messages.Rung(0, 1, round(65535 * float(MODEL.calibrated(RUNGS[0]))))
        *last, up = hear(WEAK)
        assert {m.incident for m in first} == {1, 2, 3} and {m.incident for m in last} == {4}
        assert isinstance(last[-1], Incident) and last[-1].state == State.CLOSED and isinstance(up, Heartbeat)
        assert up.rung == messages.Rung(1, 1, round(65535 * float(MODEL.calibrated(RUNGS[1]))))
        assert hear(WEAK) == []
        assert {m.incident for m in hear(LOUD)} == {5}
        now += 60.0
        (beat,) = hear(NOISE)
        assert (beat.rung.number, beat.near.count) == (1, 1)
    assert on(tmp_path, RUNGS).rung == 1


def test_at_each_rung_the_place_s_own_windows_count_as_own(tmp_path, monkeypatch):
    """A verifier takes all loud windows for the place's own: none opens an incident, before it goes up or after."""
    monkeypatch.setattr(ladder, "REST_S", 2.5)

    def verified(log_mel: np.ndarray) -> np.ndarray:
        logits = jump(MODEL.codes(log_mel))
        return np.where(logits >= JUST_ABOVE, -30, logits)  # as of silence

    own = dataclasses.replace(MODEL, logit=verified)
    for model, later in ((own, 0), (MODEL, 1)):
        folder = tmp_path / str(later)
        folder.mkdir()
        with closing(Outbox(folder)) as outbox:
            outbox.start()
            one = on(folder, RUNGS, profile="0" * 128)
            ear = Ear(model, RUNGS, p)
            device = run.Device(ear, BIRTH, outbox, p.firmware, error_us=lambda: None, climbs=one, verified=not later)
            while not one.rung:
                device.hear(audio.to_float(WEAK), lost=False)
            before = set(device.incidents)
            device.hear(audio.to_float(np.concatenate([LOUD, LOUD])), lost=False)
            assert (len(set(device.incidents) - before) > 0) == later and len(before) >= 4
            assert (", its site verifier decides as before; calibrate" in device.said(SiteProfile()).fault) != later


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("times", "median_h", "late_h"), [(2.0, 38, 97), (4.0, 7.9, 18), (10.0, 2.9, 5.2), (30.0, 1.74, 2.04)]
)
def test_the_times_that_the_page_states(tmp_path, times, median_h, late_h):
    hours = climbs(tmp_path, times, 2000, days=30)
    assert np.quantile(hours, [0.5, 0.95], method="higher") == pytest.approx([median_h, late_h], rel=0.1)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("times", "median_h", "late_h"), [(4.0, 30, 49), (10.0, 12.2, 22), (30.0, 8.6, 16.6)])
def test_the_times_that_the_page_states_of_a_change_after_a_month(tmp_path, times, median_h, late_h):
    hours = climbs(tmp_path, times, 1000, days=30, quiet_days=30)
    assert np.quantile(hours, [0.5, 0.95], method="higher") == pytest.approx([median_h, late_h], rel=0.1)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("times", "share"), [(0.5, 0.001), (1.0, ALPHA)])
def test_where_the_limit_is_kept_the_share_that_goes_up_is_below_alpha(tmp_path, times, share):
    false = int(np.isfinite(climbs(tmp_path, times, 4000, days=30)).sum())
    print(f"{times} times the limit: {false} of 4,000 in 30 days")
    assert false <= binom.ppf(0.999, 4000, share)
