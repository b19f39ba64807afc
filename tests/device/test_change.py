"""The watch over a place: how often it is wrong, how soon it is right, what a restart keeps, what it says."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from gunshot.base.files import FullError
from gunshot.device import change, messages
from gunshot.device.change import LEAST_S, LOW, PART_S, PARTS, WEEK, Watch
from gunshot.device.messages import Changed, Heartbeat
from gunshot.hub.console import fleet
from gunshot.site.verifier import OWN

MODEL = "00000000000000ff"
ARMED = 2 * WEEK  # days that pass before it says anything
AS_USUAL = 40.0, 0.1


def on(folder, **more) -> Watch:
    return Watch(folder, model=MODEL, **{"site": "yard", "profile": "a" * 128} | more)


def days(rng: np.random.Generator, count: int, *, kept: float = 0.0) -> np.ndarray:
    """Return figures of days [shape=(count, PARTS, 2)], with rush hours and half hours that go on as the one before.

    Each day has its own loudness, with heavy tails. `kept`: of it, what goes on from one day to the next.
    """
    rush = 6 * np.sin(2 * np.pi * np.arange(PARTS) / PARTS)
    day = rng.standard_t(3, size=(count, 1, 2))
    for i in range(1, count):
        day[i] = kept * day[i - 1] + np.sqrt(1 - kept**2) * day[i]
    step = rng.standard_normal((count, PARTS, 2))
    for i in range(1, PARTS):
        step[:, i] = 0.95 * step[:, i - 1] + np.sqrt(1 - 0.95**2) * step[:, i]
    return 40 + rush[:, None] + 3 * day + 2 * step


def false_days(folder, rng: np.random.Generator, count: int, **more) -> int:
    """Return on how many days of a place that stays as it is a watch says that it has changed."""
    one, out = on(folder), set()
    for day, row in enumerate(days(rng, count, **more)):
        for at, (noise, share) in enumerate(row):
            if one.hear(day * PARTS + at, noise, share) and one.changed:
                out.add(day)
    return len(out)


def expected(count: int) -> float:
    """The bound of the page: 2 (1 / (WEEK + 1) + ... + 1 / D), of days after the first week."""
    return 2 * sum(1 / (d + 1) for d in range(WEEK, count - WEEK))


def check_rate(folder, devices: int, count: int) -> None:
    rng = np.random.default_rng(5)
    false = [false_days(folder, rng, count) for _ in range(devices)]
    spread = np.sqrt(devices * expected(count)) * norm.ppf(0.999)  # days are few: at most as of a Poisson
    print(f"{np.mean(false):.2f} false days of {count}, at most {expected(count):.2f}")
    assert 0.6 * devices * expected(count) - spread < sum(false) <= devices * expected(count) + spread


def test_days_with_a_false_alarm_are_no_more_than_stated(tmp_path):
    check_rate(tmp_path, 30, 40)


@pytest.mark.exhaustive
def test_the_rates_that_the_page_states(tmp_path):
    check_rate(tmp_path, 400, 30)
    check_rate(tmp_path, 200, 100)
    rng = np.random.default_rng(5)
    kept = np.mean([false_days(tmp_path, rng, 100, kept=0.8) for _ in range(200)])
    print(f"{kept:.2f} false days of 100 where a day is 0.8 as the one before")


def armed(folder, rng=None, **more) -> Watch:
    """A watch that has heard two weeks, each half hour within 1 dB and 0.01 of the others."""
    one, rng = on(folder, **more), rng or np.random.default_rng(0)
    for part in range(ARMED * PARTS):
        assert not one.hear(part, 40 + rng.random(), 0.1 + 0.01 * rng.random())
    return one


def test_nothing_is_said_before_two_weeks_are_over(tmp_path):
    one = on(tmp_path)
    for part in range(ARMED * PARTS):
        assert not one.hear(part, 40.0 + part, 0.1)
    assert one.changed is None


def test_it_ends_with_the_first_half_hour_as_before_and_never_with_the_sound_itself(tmp_path, caplog):
    one, part = armed(tmp_path), ARMED * PARTS
    assert one.hear(part, 50.0, 0.1) and one.turned
    assert one.changed == Changed(1, part * PART_S)
    assert not any(one.hear(part + i, 50.0, 0.9) for i in range(1, 5 * PARTS))  # also once it is days old
    assert one.hear(part + 5 * PARTS, *AS_USUAL) and one.changed is None
    assert not one.hear(part + 5 * PARTS + 1, 50.0, 0.9)  # what was told is a part of the place by now
    assert "the place has changed: its noise is louder than on any of 14 days" in caplog.text


def test_a_night_is_held_against_nights(tmp_path):
    one, rng = on(tmp_path), np.random.default_rng(1)
    usual = np.where(np.arange(PARTS) < PARTS // 3, 30.0, 60.0)
    for part in range(ARMED * PARTS):
        one.hear(part, usual[part % PARTS] + rng.random(), 0.1)
    assert one.hear(ARMED * PARTS, 42.0, 0.1)  # a fan, far below the day's noise


def test_more_that_sounds_like_a_shot_is_a_change_too(tmp_path):
    one = armed(tmp_path)
    assert one.hear(ARMED * PARTS, 40.5, 0.5) and one.changed.what == 2
    assert one.changed.in_words == "more sounds like a shot there"


def test_a_new_profile_ends_a_change_and_another_model_or_site_begins_anew(tmp_path):
    one = armed(tmp_path)
    one.hear(ARMED * PARTS, 50.0, 0.1)
    one._save()
    assert on(tmp_path).changed and on(tmp_path, profile="").changed
    assert on(tmp_path, profile="b" * 128).changed is None
    assert on(tmp_path, site="lane").changed is None
    assert Watch(tmp_path, model="0" * 16, site="yard").changed is None
    without = armed(tmp_path / "none", profile="")
    assert without.hear(ARMED * PARTS, 50.0, 0.1) and without.changed and not without.turned


def test_half_hours_that_are_missing_and_clocks_that_jump_tell_nothing(tmp_path):
    """A day with too few half hours is none; its loudest half hour still counts as heard."""
    one, part = armed(tmp_path), ARMED * PARTS
    before = one._state.days
    for at in range(change.WHOLE - 1):
        one.hear(part + at, 40.5, 0.1)
    one.hear(part + 10 * PARTS, *AS_USUAL)  # the clock jumps by ten days
    assert one._state.days == before + 1  # of the last of the two weeks, none of the short one
    one.hear(part - 3 * PARTS, *AS_USUAL)  # and back
    assert one._state.days == before + 1 and one.changed is None


def fed(one: Watch, start_s: float, noise: float, seconds: int, logit: int = LOW - 1) -> list[bool]:
    """Push seconds of 10 samples each, as if they were heard one a second."""
    pcm, logits = np.full(10, noise, np.int16), np.array([logit], np.int16)
    return [one.push(pcm, logits, start_s + i, sr=10) for i in range(seconds)]


@pytest.mark.parametrize("missing", [0, 100, PART_S - LEAST_S + 1])
def test_a_half_hour_of_samples_gives_its_noise_and_what_sounds_like_a_shot(tmp_path, missing):
    one = on(tmp_path)
    assert not any(fed(one, 0, 100, 1000) + fed(one, 1000, 10_000, PART_S - 1000 - missing, logit=LOW))
    assert one._state.today[0] is None  # it is not over
    fed(one, PART_S, 100, 1)
    if missing > PART_S - LEAST_S:
        assert one._state.today[0] is None
        return
    noise, share = one._state.today[0]
    assert noise == pytest.approx(40.0) and share == pytest.approx((800 - missing) / (PART_S - missing))
    assert on(tmp_path)._state.today[0] == (noise, share)  # it is kept at once


def test_what_a_site_verifier_takes_for_the_place_s_own_counts_with_and_without_it():
    assert LOW == OWN


@settings(max_examples=10, deadline=None)
@given(stops=st.sets(st.integers(0, (ARMED + 2) * PARTS - 1), max_size=5), seed=st.integers(0, 3))
def test_a_restart_changes_nothing(tmp_path_factory, stops, seed):
    folder, other = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    one, again = on(folder), on(other)
    rows = days(np.random.default_rng(seed), ARMED + 2).reshape(-1, 2)
    for part, (noise, share) in enumerate(rows):
        if part in stops:
            again._save()
            again = on(other)
        assert one.hear(part, noise, share) == again.hear(part, noise, share)
    one._save()
    again._save()
    assert (folder / change.FILE).read_text() == (other / change.FILE).read_text()


def test_a_damaged_file_begins_anew_and_a_full_disk_silences_nothing(tmp_path, caplog, monkeypatch):
    one = armed(tmp_path)
    one._save()
    whole = (tmp_path / change.FILE).read_text()
    for text in (whole[:50], "", "[]", whole.replace('"days":6', '"days":-6'), whole.replace("null", "1", 1)):
        assert text != whole
        (tmp_path / change.FILE).write_text(text)
        assert on(tmp_path)._state.days == 0 and "cannot be read, it begins anew" in caplog.text
        caplog.clear()

    def full(_):
        raise FullError(28, "disk: No space left on device; make room there, then run this again")

    monkeypatch.setattr(change, "atomic", full)
    caplog.set_level(logging.INFO, "gunshot")
    one._save()
    assert "a restart will forget what it knows of its place: disk: No space left" in caplog.text


def test_a_heartbeat_tells_it_and_the_page_of_devices_warns():
    base = Heartbeat(*[1] * 13)
    assert messages.decode(messages.encode(base)).changed is None
    changed = Heartbeat(*[1] * 13, changed=Changed(2, 1_798_761_600))
    assert messages.decode(messages.encode(changed)) == changed
    (words,) = [text for text in fleet.warnings({}, changed) if "changed" in text]
    assert words.startswith("its place has changed since 2027-01-01 00:00 UTC: more sounds like a shot there")
    with pytest.raises(ValueError, match="changed: what=3 must be 1 to 2"):
        Changed(3, 0)
