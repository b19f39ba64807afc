"""The detector: equal to a state machine in plain Python, however it is fed; onsets on time; memory bounded."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio, params
from gunshot.detect import detector, onset
from gunshot.detect.detector import (
    DECIDED,
    GROUPS,
    LOCAL,
    LOGIT_SUM,
    MOST_RISES,
    ONSET,
    PAST,
    SIXTEENTHS,
    WHICH,
    Detector,
    Settings,
)  # fmt: skip

P = params.load("audio", "chunks", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
SR, L, HOP = P.audio.sr, P.audio.chunk_length, P.detector.hop
N_MELS, N_FRAMES, CODE_DB, CODE_ZERO = 32, 33, 0.5, 72
PLACE = {"sr": SR, "n_fft": P.features.n_fft, "hop_length": P.features.hop_length}
HIGH, LOW = 60, -60  # logits of windows with and without a shot
SETTINGS = Settings(
    on=0, off=-20, even=-40, windows=2, hop=HOP, n_frames=N_FRAMES, first=2, stop=26, cooldown=17,
    min_rise=detector.min_rise(N_MELS, CODE_DB),
)  # fmt: skip


def leans(before: int, rise: int, after: int) -> int:
    """Where the vertex of the parabola through three rises lies, from 0, half a frame before, to SIXTEENTHS."""
    bend = 2 * rise - before - after
    vertex = Fraction(after - before, 2 * bend) if bend > 0 else 0
    return min(SIXTEENTHS, max(0, math.floor(SIXTEENTHS * (vertex + Fraction(1, 2)))))


def reference(parts: list[list[int]], logits: list[int], s: Settings) -> list[tuple[int, ...]]:
    """The module's rules a window at a time, on lists: what each window opens, continues or ends, and what it tells."""

    rises = [sum(part) for part in parts]

    def at(t: int) -> int:
        return rises[t] if t >= 0 else 0

    rows, is_open, quiet, steepest, incident, following, last = [], False, 0, 0, 0, s.lead, -LOCAL
    for w in range(len(logits)):
        # Before there are as many windows the first stands for those that are missing.
        total = sum(logits[max(0, w - i)] for i in range(s.windows))
        begins = not is_open and total >= s.on
        if begins:
            is_open, steepest, incident = True, 0, incident + 1
        if not is_open:
            continue
        shots, stop = [], w * s.hop + s.stop
        if total >= s.off:
            # Where a shot can be in this window, and in those before it that it decides with.
            start = max(following, max(w - s.windows + 1, 0) * s.hop + s.first)
            steepest = max([steepest, *rises[start:stop]])
            least = max(s.min_rise, min(steepest, MOST_RISES * s.min_rise) // detector.SHARE)
            for t in range(start, stop):
                before, after = ([at(t + sign * i) for i in range(1, LOCAL)] for sign in (-1, 1))
                peak = max(before) < at(t) and max(after) <= at(t)
                if peak and at(t) >= least and t - last >= LOCAL:
                    shots.append(t)
                    last = t
            following = max(start, stop)
            if begins and not shots:
                shots = [max(range(start, stop), key=lambda t: (rises[t], -t))]
                last = shots[0]
        if total >= s.even:
            shots += steady(parts, w * s.hop + s.n_frames, stop, last, s.min_rise // 2)
            last = max([last, *shots])
            following = max(following, last + 1)
        quiet = 0 if shots or total >= s.off else quiet + 1
        is_open = quiet <= s.cooldown
        for t in shots:
            height = min(detector.MOST_RISE * SIXTEENTHS, SIXTEENTHS * rises[t] // s.min_rise)
            rows.append((t, w, total, incident, leans(at(t - 1), rises[t], rises[t + 1]), height))
    return rows


def steady(parts: list[list[int]], end: int, stop: int, last: int, most: int) -> list[int]:
    """Shots after the last one at the rate at which the capped rises before `end` recur."""

    def at(t: int) -> list[int]:
        return parts[t] if t >= 0 else [0] * GROUPS

    def centred(values: list[int]) -> list[int]:
        return [value - sum(values) // detector.SPAN for value in values]

    def recurs(z: list[int], lag: int) -> int:
        return sum(z[i] * z[i - lag] for i in range(lag, detector.SPAN))

    begin = end - detector.SPAN
    groups = [centred([min(at(t)[g], most // GROUPS) for t in range(begin, end)]) for g in range(GROUPS)]
    recurrence = {
        k: sum(recurs(z, k) for z in groups) for k in [0, *range(detector.FASTEST - 1, 2 * detector.SLOWEST + 2)]
    }
    lags = [
        k
        for k in range(detector.FASTEST, detector.SLOWEST + 1)
        if recurrence[k] >= max(recurrence[k - 1], recurrence[k + 1], recurrence[0] / 4) and recurrence[k] > 0
    ]
    lag = max(lags, key=lambda k: (recurrence[k], -k), default=0)
    if not lag or 6 * max(recurrence[2 * lag + i] for i in (-1, 0, 1)) < recurrence[0]:
        return []
    z, shots = centred([min(sum(at(t)), most) for t in range(begin, end)]), []
    before = z[last - begin] if last >= begin else 0
    while last + lag - detector.NEAR >= begin and last + lag + detector.NEAR < stop:
        last = max(range(last + lag - detector.NEAR, last + lag + detector.NEAR + 1), key=lambda t: (sum(at(t)), -t))
        height = z[last - begin]
        if height <= 0 or 4 * detector.SPAN * height**2 < recurs(z, 0) or 3 * height < 2 * before:
            break
        shots.append(last)
        before = height
    return shots


@st.composite
def cases(draw):
    """Settings, logits and rises; few values, so that ties are common, and steep ones that lie LOCAL apart."""
    hop, n_frames = draw(st.integers(1, 12)), draw(st.integers(12, 40))
    first = draw(st.integers(0, n_frames - LOCAL))
    off, above, below = draw(st.integers(-30, 30)), draw(st.integers(0, 20)), draw(st.integers(0, 20))
    s = Settings(
        on=off + above, off=off, even=off - below, windows=draw(st.integers(1, 4)), hop=hop, n_frames=n_frames,
        first=first, stop=draw(st.integers(first + 1, n_frames - LOCAL + 1)), cooldown=draw(st.integers(0, 6)),
        min_rise=draw(st.one_of(st.integers(1, 20), st.just(60))),
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = np.clip(np.cumsum(rng.integers(-8, 9, draw(st.integers(0, 60)))), -30, 30) + draw(st.sampled_from([0, 30]))
    frames = (len(logits) - 1) * hop + s.n_frames + draw(st.integers(0, hop - 1)) if len(logits) else 0
    rises = rng.integers(0, draw(st.sampled_from([2, 2, 10, 1250])), (frames, GROUPS))
    if draw(st.booleans()):
        rises[:: draw(st.integers(5, 21))] += rng.integers(3, 30, GROUPS)
    rises[: draw(st.integers(0, len(rises)))] *= draw(st.sampled_from([1, 3]))
    return rises.astype(np.int32), logits.astype(np.int16), s


def test_the_cases_hold_steady_fire():
    """Or the test below would prove little of it: only shots at a steady rate are told that close."""
    close = []

    @given(cases())
    def count(case):
        close.append((np.diff(Detector(case[2]).push(*case[:2])[:, ONSET]) < LOCAL).any())

    count()
    assert np.mean(close) > 0.02, np.mean(close)


@pytest.mark.slow
@settings(max_examples=300)
@given(cases())
def test_it_is_the_state_machine(case):
    rises, logits, s = case
    rows = Detector(s).push(rises, logits)
    assert rows.dtype == np.int64 and rows.shape == (len(rows), 6)
    assert [tuple(row) for row in rows.tolist()] == reference(rises.tolist(), logits.tolist(), s)


@given(cases(), st.integers(0, 2**32))
def test_pieces_give_what_the_whole_gives(case, seed):
    rises, logits, s = case
    rng, d, parts, given_frames = np.random.default_rng(seed), Detector(s), [], 0
    whole = Detector(s).push(rises, logits)
    cuts = np.sort(rng.integers(0, len(logits) + 1, rng.integers(0, 9)))
    for first, last in zip([0, *cuts], [*cuts, len(logits)], strict=True):
        needed = (last - 1) * s.hop + s.n_frames if last else 0
        to = rng.integers(max(needed, given_frames), len(rises) + 1)
        parts.append(d.push(rises[given_frames:to], logits[first:last]))
        given_frames = to
    assert np.array_equal(np.concatenate(parts), whole)


@given(cases())
def test_each_incident_has_an_onset_that_one_of_its_windows_holds(case):
    rises, logits, s = case
    rows = Detector(s).push(rises, logits)
    count = len({row[WHICH] for row in rows.tolist()})
    assert sorted({row[WHICH] for row in rows.tolist()}) == list(range(1, count + 1))
    opened, quiet = 0, s.cooldown + 1
    for w in range(len(logits)):
        total = sum(int(logits[max(0, w - i)]) for i in range(s.windows))
        if quiet > s.cooldown and total >= s.on:
            opened, quiet = opened + 1, 0
        elif quiet <= s.cooldown:
            quiet = 0 if total >= s.off or w in rows[:, DECIDED] else quiet + 1
    assert count == opened
    _, first = np.unique(rows[:, WHICH], return_index=True)
    place = rows[:, ONSET] - rows[:, DECIDED] * s.hop
    assert (place[first] >= s.first - (s.windows - 1) * s.hop).all() and (place < s.stop).all()
    assert (rows[first, LOGIT_SUM] >= s.on).all() and (rows[:, LOGIT_SUM] >= s.even).all()
    assert (np.diff(rows[:, DECIDED]) >= 0).all() and (np.diff(rows[:, ONSET]) > 0).all()


def test_a_window_that_opens_tells_all_the_shots_that_it_holds():
    """More than a piece of the stream alone could hold: they come from frames of earlier pieces."""
    s = replace(SETTINGS, windows=20, hop=8, n_frames=300, first=0, stop=294, even=0, off=0, on=0)
    logits = np.r_[np.full(40, LOW), np.full(30, 100 * HIGH)].astype(np.int16)
    rises = np.zeros((69 * s.hop + s.n_frames, GROUPS), np.int32)
    rises[::LOCAL] = 5000
    d, parts = Detector(s), []
    for w, logit in enumerate(logits):
        first = 0 if not w else (w - 1) * s.hop + s.n_frames
        parts.append(d.push(rises[first : w * s.hop + s.n_frames], np.array([logit], np.int16)))
    assert max(map(len, parts)) > 40
    every = np.concatenate(parts)
    assert [tuple(row) for row in every.tolist()] == reference(rises.tolist(), logits.tolist(), s)


def test_memory_is_bounded_however_long_the_stream():
    d, s, rng = Detector(SETTINGS), SETTINGS, np.random.default_rng(0)
    for i in range(300):
        frames = s.n_frames if not i else 40 * s.hop
        d.push(rng.integers(0, 2000, (frames, GROUPS)), rng.integers(-90, 90, 1 if not i else 40))
        held = sum(v.nbytes for v in vars(d).values() if isinstance(v, np.ndarray))
        assert held < 8 * (detector.RING + 64) + 4 * GROUPS * (detector.RING + 64)


def test_frames_that_a_window_lacks_are_named():
    d = Detector(SETTINGS)
    with pytest.raises(ValueError, match=r"windows=2 need 41 frames, 40 were given"):
        d.push(np.zeros((40, GROUPS), np.int32), np.zeros(2, np.int16))
    assert len(d.push(np.zeros((41, GROUPS), np.int32), np.full(2, LOW, np.int16))) == 0
    with pytest.raises(ValueError, match=r"windows=1 need 49 frames, 48 were given"):
        d.push(np.zeros((7, GROUPS), np.int32), np.zeros(1, np.int16))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"off": 1}, "off=1 must be at most on=0"),
        ({"even": -19}, "even=-19 must be at most off=-20"),
        ({"windows": 0}, "windows=0 must be at least 1"),
        ({"hop": 0}, "hop=0 must be at least 1"),
        ({"first": -1}, "first=-1, stop=26 must be 0 <= first < stop <= n_frames - 6 = 27"),
        ({"first": 26}, "first=26, stop=26 must be"),
        ({"stop": 28}, "first=2, stop=28 must be"),
        ({"hop": 34}, "hop=34 must be at most n_frames=33"),
        ({"windows": 60}, "windows=60 x hop=8 and n_frames=33 must fit 512 frames"),
    ],
)
def test_wrong_settings_are_named(values, words):
    with pytest.raises(ValueError, match=words):
        replace(SETTINGS, **values)


def incidents(logits: list[int], **values) -> np.ndarray:
    """The incidents that logits open: the same rise in each frame, so that each incident has one onset."""
    s = {
        "on": 10,
        "off": 5,
        "even": 5,
        "windows": 1,
        "hop": 1,
        "n_frames": 7,
        "first": 0,
        "stop": 1,
        "cooldown": 2,
        "min_rise": 1,
    }
    rises = np.full((len(logits) + 6, GROUPS), 9, np.int32)
    return Detector(Settings(**s | values)).push(rises, np.array(logits, np.int16))[:, WHICH]


def test_an_incident_opens_at_on_and_goes_on_at_off():
    assert incidents([9, 9, 9]).tolist() == []
    assert incidents([10]).tolist() == [1]
    assert incidents([10, 5, 4, 4, 5, 4, 4, 10]).tolist() == [1]  # two windows below off are no end
    assert incidents([10, 4, 4, 4, 9, 10]).tolist() == [1, 2]  # three are, and 9 opens none
    assert incidents([10, 4, 10], cooldown=0).tolist() == [1, 2]


def test_the_sum_of_windows_decides():
    assert incidents([4, 4, 6], windows=2, off=0, even=0).tolist() == [1]
    assert incidents([4, 5, 4], windows=2, off=0, even=0).tolist() == []
    assert incidents([5], windows=2, off=0, even=0).tolist() == [1]  # the first stands for the one before it


@pytest.mark.slow
@given(st.integers(0, 2**32), st.sampled_from([-32767, 0, 32767]))
def test_extremes_are_decided(seed, logit):
    rng, s = np.random.default_rng(seed), replace(SETTINGS, windows=4, on=4 * 32767, off=4 * 32767, even=4 * 32767)
    codes = rng.choice(np.array([-128, 127], np.int8), (N_MELS, 600 + PAST))
    rises, logits = detector.rise(codes), np.full(1 + (600 - N_FRAMES) // HOP, logit, np.int16)
    assert rises.max() <= PAST * 255 * N_MELS // GROUPS and rises.min() >= 0
    rows = Detector(s).push(rises, logits)
    assert len(rows) == 0 if logit < 32767 else (rows[:, LOGIT_SUM] == 4 * 32767).all() and len(rows)
    assert [tuple(row) for row in rows.tolist()] == reference(rises.tolist(), logits.tolist(), s)


def test_an_hour_of_silence_has_no_onset_and_one_of_an_alarm_one_onset():
    frames = 3600 * SR // PLACE["hop_length"]
    rises, count = detector.rise(np.full((1, frames + PAST), -128, np.int8)), 1 + (frames - N_FRAMES) // HOP
    assert len(Detector(SETTINGS).push(rises, np.full(count, LOW, np.int16))) == 0
    assert len(Detector(SETTINGS).push(rises, np.full(count, HIGH, np.int16))) == 1


def recording(rng: np.random.Generator, starts_s: list[float], duration_s: float, decay_ms: float, snr_db: float):
    """The rises of decaying bursts at known times in noise."""
    y = 0.001 * rng.standard_normal(int(duration_s * SR))
    for start_s in starts_s:
        start, n = round(start_s * SR), int(8 * decay_ms / 1000 * SR)
        shot = rng.standard_normal(n) * np.exp(-np.arange(n) / (decay_ms / 1000 * SR))
        shot[0] = 3.0
        part = y[start : start + n]
        part += 0.001 * 10 ** (snr_db / 20) * shot[: len(part)]
    log_mel = features.log_mel(audio.to_int16(y), sr=SR, **P.features.model_dump())
    codes = np.clip(np.rint(log_mel / CODE_DB) + CODE_ZERO, -128, 127).astype(np.int8)
    return detector.rise(np.concatenate([np.repeat(codes[:, :1], PAST, axis=1), codes], axis=1))


def perfect(frames: int, starts_s: list[float]) -> np.ndarray:
    """The logits of a model that alarms where a window holds a shot in its middle."""
    first = np.arange(1 + (frames - N_FRAMES) // HOP)[:, None] * HOP * PLACE["hop_length"] / SR
    place = (np.array(starts_s)[None] - first) / (L / SR)
    return np.where(((place > 0.05) & (place < 0.75)).any(axis=1), HIGH, LOW).astype(np.int16)


def onsets(rises: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return onset.samples(Detector(SETTINGS).push(rises, logits), **PLACE) / SR


@given(st.integers(0, 2**32), st.floats(0.3, 1.5), st.floats(3, 60), st.floats(25, 50))
def test_an_onset_is_within_5_ms(seed, start_s, decay_ms, snr_db):
    rises = recording(np.random.default_rng(seed), [start_s], 2.0, decay_ms, snr_db)
    (onset_s,) = onsets(rises, perfect(len(rises), [start_s]))
    assert abs(onset_s - start_s) < 0.005


@pytest.mark.slow
def test_the_shots_of_a_burst_are_told_apart():
    """All, in time; noise right where the next would be passes for one more, and rarely."""
    rng, more = np.random.default_rng(0), []
    for seed in range(300):
        count, interval_s = int(rng.integers(2, 7)), rng.uniform(0.062, 0.4)
        starts = [0.4 + i * interval_s for i in range(count)]
        rises = recording(np.random.default_rng(seed), starts, starts[-1] + 0.6, 5, 45)
        times_s = onsets(rises, perfect(len(rises), starts))
        assert np.abs(times_s[:count] - starts).max() < 0.005
        more.append(len(times_s) - count)
    assert max(more) <= 1 and np.mean(more) < 0.05


def test_a_soft_shot_is_not_hidden_by_a_loud_one_of_an_earlier_incident():
    starts = [0.5, 2.8, 3.1]
    rises = recording(np.random.default_rng(0), starts, 3.9, 10, 50)
    rises[300:] //= 2 * detector.SHARE
    rows = Detector(SETTINGS).push(rises, perfect(len(rises), starts))
    assert rows[:, WHICH].tolist() == [1, 2, 2]
    joined = Detector(replace(SETTINGS, cooldown=1000)).push(rises, perfect(len(rises), starts))
    assert joined[:, WHICH].tolist() == [1]  # in one incident it is


def test_no_onset_lies_in_a_gap_whose_windows_are_quiet():
    shot, slam, again = 0.5, 1.05, 1.6  # the slam is as loud, and no window that holds it alarms
    rises = recording(np.random.default_rng(1), [shot, slam, again], 2.4, 10, 40)
    rows = Detector(SETTINGS).push(rises, perfect(len(rises), [shot, again]))
    assert rows[:, WHICH].tolist() == [1, 1]
    assert np.abs(onset.samples(rows, **PLACE) / SR - [shot, again]).max() < 0.005


@given(st.integers(-24, 300))
def test_a_frame_ends_with_its_last_sample(frame):
    assert detector.end_s(np.array([frame]), **PLACE)[0] == (frame * 112 + 512) / 16000


@pytest.mark.slow
@pytest.mark.parametrize(("interval_s", "decay_ms"), [(0.05, 20), (0.067, 40), (0.1, 80), (0.12, 80)])
def test_automatic_fire_is_counted_by_its_rate(interval_s, decay_ms):
    """Shots in each other's tails: fewer than two of three rise enough by themselves."""
    count, counts, rise = 20, [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = (0.5 + interval_s * np.arange(count) + rng.uniform(-0.002, 0.002, count)).tolist()
        rises = recording(rng, starts, starts[-1] + 1.0, decay_ms, 50)
        counts.append(len(onsets(rises, perfect(len(rises), starts))))
        frames = np.rint((np.array(starts) * SR - PLACE["n_fft"] / 2) / PLACE["hop_length"]).astype(int)
        rise += [rises[t - detector.NEAR : t + detector.NEAR + 1].sum(axis=1).max() for t in frames]
    assert np.mean(counts) == pytest.approx(count, abs=2.5), counts
    assert np.mean(np.array(rise) >= SETTINGS.min_rise * MOST_RISES // detector.SHARE) < 2 / 3
