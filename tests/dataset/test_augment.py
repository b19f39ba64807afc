"""Augmentation: what each transform does to the sound, and that its draws are those of the Generator handed in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gunshot.base import audio, params, tables
from gunshot.dataset import augment, chunks

SR, L = 16000, 4096
P = params.load("augment", path=Path(__file__).parents[2] / "params.yaml").augment
NEVER = {"reverb_share": 0.0, "background_share": 0.0, "filter_share": 0.0, "clip_share": 0.0}


def with_(**changed):
    return P.model_copy(update=changed)


def db(ratio: float) -> float:
    return 20 * np.log10(ratio)


def rms(y: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(y, dtype=np.float64))))


def sine(f: float, n: int = L, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * f * np.arange(n) / SR)).astype(np.float32)


def shot(n: int = L, at: int = 1000, sign: float = 1.0) -> np.ndarray:
    """A pulse of one sign that decays."""
    t = np.maximum(np.arange(n) - at, 0)
    return (sign * 0.5 * (np.arange(n) >= at) * np.exp(-t / 150)).astype(np.float32)


def pitch(y: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(y * np.hanning(len(y)), 1 << 18))
    return float(np.argmax(power) * SR / (1 << 18))


@given(st.floats(2 ** (-2 / 12), 2 ** (2 / 12)), st.floats(200, 4000))
def test_resample_changes_pitch_and_duration_together(rate, f):
    y = augment.resample(sine(f, 8192), rate)
    assert y.dtype == np.float32 and abs(len(y) - 8192 / rate) <= 1
    assert pitch(y) == pytest.approx(f * rate, rel=2e-3, abs=0.5)
    assert abs(db(rms(y[200:-200]) / rms(sine(f)))) < 0.3


@given(st.floats(2 ** (-2 / 12), 2 ** (2 / 12)))
def test_resample_keeps_the_place_and_the_shape_of_a_pulse(rate):
    y = augment.resample(shot(), rate)
    assert abs(int(np.argmax(y)) - 1000 / rate) <= 2
    assert np.abs(y[: int(900 / rate)]).max() < 1e-3  # nothing is smeared before it


@given(st.floats(-40, 20))
def test_gain_is_in_db(level_db):
    y = augment.gain(sine(440), level_db)
    assert y.dtype == np.float32 and db(rms(y) / rms(sine(440))) == pytest.approx(level_db, abs=1e-4)


@given(st.floats(-10, 40), st.integers(0, 2**32), st.floats(1e-4, 0.5))
def test_the_background_has_the_snr_asked_for(snr_db, seed, level):
    noise = (level * np.random.default_rng(seed).standard_normal(L)).astype(np.float32)
    y = augment.background(shot(), noise, snr_db)
    assert y.dtype == np.float32
    assert db(rms(shot()) / rms(y.astype(np.float64) - shot())) == pytest.approx(snr_db, abs=0.02)
    assert np.corrcoef(y - shot(), noise)[0, 1] > 0.99


def test_silence_gets_and_gives_no_background():
    silence = np.zeros(L, np.float32)
    assert np.array_equal(augment.background(shot(), silence, 10), shot())
    assert np.array_equal(augment.background(silence, shot(), 10), silence)


@given(st.floats(0.1, 0.6), st.integers(0, 2**32))
def test_reverb_decays_by_60_db_in_rt60(rt60_s, seed):
    impulse = np.zeros(SR // 2, np.float32)
    impulse[0] = 1
    tail = augment.reverb(impulse, np.random.default_rng(seed), sr=SR, rt60_s=rt60_s)
    assert tail.dtype == np.float32 and tail.shape == impulse.shape and tail[0] == pytest.approx(1, abs=1e-5)
    assert -12.5 < 10 * np.log10(np.sum(tail[1:].astype(np.float64) ** 2)) < 0.5
    # The slope of log energy in blocks of 20 ms, where it is above the convolution's rounding.
    energy = 10 * np.log10(np.mean(tail[1 : 1 + 320 * 24].astype(np.float64).reshape(24, 320) ** 2, axis=1) + 1e-15)
    used = energy > energy[0] - 45
    slope = np.polyfit(np.arange(24)[used] * 0.02, energy[used], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.2)


def test_reverb_is_causal_and_keeps_the_direct_sound():
    y = augment.reverb(shot(), np.random.default_rng(0), sr=SR, rt60_s=0.3)
    assert np.abs(y[:1000]).max() < 1e-5 and y[1000] == pytest.approx(0.5, abs=1e-4)


BANDS = [(50, -99, -23), (200, -3.3, -2.7), (1000, -0.5, 0.1), (3000, -3.3, -2.7), (6000, -99, -23)]


@pytest.mark.parametrize(("f", "least", "most"), BANDS)
def test_band_limit_passes_the_band_and_falls_outside(f, least, most):
    y = augment.band_limit(sine(f, 16000), sr=SR, highpass_hz=200, lowpass_hz=3000)
    assert y.dtype == np.float32 and least < db(rms(y[4000:]) / rms(sine(f, 16000)[4000:])) < most


def test_a_low_pass_at_nyquist_is_none():
    y = augment.band_limit(sine(1000, 16000), sr=SR, highpass_hz=20, lowpass_hz=8000)
    assert abs(db(rms(y[4000:]) / rms(sine(1000, 16000)[4000:]))) < 0.1


@given(st.floats(0.5, 12), st.integers(0, 2**32))
def test_clip_flattens_what_is_above_the_level_and_keeps_the_peak(over_db, seed):
    y = (0.2 * np.random.default_rng(seed).standard_normal(L)).astype(np.float32)
    clipped, peak = augment.clip(y, over_db), np.abs(y).max()
    limit = peak * 10 ** (-over_db / 20)
    assert clipped.dtype == np.float32 and np.abs(clipped).max() == pytest.approx(peak, rel=1e-5)
    below = np.abs(y) < limit
    assert np.allclose(clipped[below], y[below] * 10 ** (over_db / 20), rtol=1e-4)
    assert np.allclose(np.abs(clipped[np.abs(y) > limit]), peak, rtol=1e-4)
    assert np.array_equal(augment.clip(np.zeros(9, np.float32), over_db), np.zeros(9))


@given(st.integers(L, 40000), st.data(), st.integers(0, 2**32), st.floats(0, 1), st.floats(-12, 12))
def test_a_copy_s_chunk_lies_in_the_copy_and_keeps_its_shot(n, data, seed, shift, semitones):
    rate = 2 ** (semitones / 12)
    row = {"start": data.draw(st.integers(0, n - L)), "onset": data.draw(st.integers(-1, L - 1))}
    length = max(L, round(n / rate) - data.draw(st.integers(0, 1)))  # the resampler may be a sample short
    rng = np.random.default_rng(seed)
    place = augment.moved(row, length, rng, with_(shift=shift), rate=rate, chunk_length=L)
    assert 0 <= place["start"] <= length - L
    away = abs(place["start"] - row["start"] / rate)
    if row["onset"] < 0:
        assert place["onset"] == -1
        assert away <= shift * L + 0.5 or place["start"] in (0, length - L)
    else:
        assert 0 <= place["onset"] < L
        assert abs(place["start"] + place["onset"] - (row["start"] + row["onset"]) / rate) <= 1.5
        assert away <= shift * L + 0.5 or place["start"] in (0, length - L) or place["onset"] in (0, L - 1)


def test_chunks_move_as_far_as_shift_either_way():
    rng, row = np.random.default_rng(0), {"start": 50000, "onset": -1}
    shifts = [augment.moved(row, 10**5, rng, P, rate=1.0, chunk_length=L)["start"] - 50000 for _ in range(2000)]
    away = np.array(shifts) / L
    assert -P.shift <= away.min() < -0.9 * P.shift and 0.9 * P.shift < away.max() <= P.shift
    assert abs(away.mean()) < 0.02


def rows(starts: list[int], onsets: list[int], kind: str = "gun") -> pd.DataFrame:
    common = {"path": "m/gun/a.wav", "recording": "m/gun/a.wav", "class": kind, "label": "l", "recording_group": "g"}
    entries = [
        {"chunk": f"m/gun/a.wav#{s}", "index": i, "start": s, "onset": o, "source": "m", **common}
        for i, (s, o) in enumerate(zip(starts, onsets, strict=True))
    ]
    return tables.frame(entries, tables.CHUNK)


RECORDING = audio.to_int16(shot(20000, 9000) + 0.001 * np.random.default_rng(0).standard_normal(20000))
NOISE = audio.to_int16(0.1 * np.random.default_rng(1).standard_normal((7, 6000)))  # shorter than the recording


def noise(rng: np.random.Generator) -> np.ndarray:
    return NOISE[rng.integers(len(NOISE))]


def copies(table, p=P, seed: int = 0, pcm=RECORDING):
    return augment.copies(table, pcm, noise, np.random.default_rng(seed), p, sr=SR, chunk_length=L)


def cut(copy_rows: list[dict], waves: list[np.ndarray]) -> list[np.ndarray]:
    """The chunks of copies, as their rows place them."""
    parts = [waves[int(row["path"].split("/")[0])][row["start"] : row["start"] + L] for row in copy_rows]
    assert all(len(part) == L for part in parts)
    return parts


def test_the_same_generator_gives_the_same_bytes_and_nothing_else_is_drawn():
    table = rows([6000, 8000], [3000, 1000])
    state = np.random.get_state()[1].copy()
    (a_rows, a), (b_rows, b), (_, c) = copies(table), copies(table), copies(table, seed=1)
    as_bytes = lambda waves: [wave.tobytes() for wave in waves]  # noqa: E731
    assert a_rows == b_rows and as_bytes(a) == as_bytes(b) != as_bytes(c)
    assert np.array_equal(np.random.get_state()[1], state)
    before = RECORDING.copy(), NOISE.copy(), table.copy()
    copies(table)
    assert np.array_equal(before[0], RECORDING) and np.array_equal(before[1], NOISE) and before[2].equals(table)


@pytest.mark.parametrize(
    ("kind", "gun", "env"), [("gun", 3, 1), ("env", 3, 1), ("gun", 0, 2), ("env", 2, 0), ("gun", 1, 1)]
)
def test_copies_counts_shapes_and_names(kind, gun, env):
    each = {"gun": gun, "env": env}[kind]
    copy_rows, waves = copies(rows([0, 6000], [10, 3000] if kind == "gun" else [-1, -1], kind),
                             with_(gun_copies=gun, env_copies=env))  # fmt: skip
    assert len(waves) == each and len(copy_rows) == 2 * each
    assert all(wave.dtype == np.int16 and abs(len(wave) / len(RECORDING) - 1) < 0.13 for wave in waves)
    assert [row["path"] for row in copy_rows] == [f"{i}/m/gun/a.wav" for i in range(each) for _ in range(2)]
    assert [row["chunk"] for row in copy_rows] == [f"m/gun/a.wav#{s}~{i}" for i in range(each) for s in (0, 6000)]
    assert all(set(row) == set(tables.CHUNK) and row["class"] == kind for row in copy_rows)
    assert kind == "gun" or all(row["onset"] == -1 for row in copy_rows)


@given(st.text(st.sampled_from("a~#1.٣ "), min_size=1, max_size=12), st.sampled_from(["gun", "env"]))
@example("E~1", "gun")
@example("a.wav#5~1", "env")
def test_copies_are_told_by_the_end_of_their_ids_whatever_the_recording_is_called(stem, kind):
    """No character of a name has a meaning: E~1.WAV is how Windows shortens names."""
    common = {"class": kind, "label": "x", "recording_group": "g", "source": "s"}
    own = chunks.rows({"path": f"m/{kind}/{stem}.wav", **common}, np.array([0, 6000]), np.array([10, 3000]))
    copied, _ = copies(pd.DataFrame(own), with_(gun_copies=2, env_copies=2, **NEVER))
    ids = pd.Series([row["chunk"] for row in own + copied])
    assert ids.is_unique and ids.str.contains(tables.COPY).tolist() == [False] * 2 + [True] * 4


def test_a_recording_shorter_than_a_chunk_goes_on_as_its_last_sample():
    """A faster copy of one chunk alone has no more sound than that."""
    p = with_(gun_copies=30, **NEVER)
    copy_rows, waves = copies(rows([0], [1000]), p, pcm=RECORDING[8000 : 8000 + L])
    assert min(map(len, waves)) == L and max(map(len, waves)) > L
    for row, wave in zip(copy_rows, waves, strict=True):
        y = np.flatnonzero(wave != wave[-1])
        assert len(wave) > L or y[-1] < L - 1
        assert 0 <= row["start"] <= len(wave) - L


@pytest.mark.parametrize("onset", [5, 200, 2000, 3900, 4090])
def test_a_copy_holds_its_shot_where_its_row_says(onset):
    p = with_(gun_copies=40, gain_db=(0.0, 0.0), **NEVER)
    copy_rows, waves = copies(rows([9000 - onset], [onset]), p)
    for row, copy in zip(copy_rows, cut(copy_rows, waves), strict=True):
        assert 0 <= row["onset"] < L
        if row["onset"] < L - 20:
            assert abs(int(np.argmax(np.abs(copy.astype(int)))) - row["onset"]) <= 5
    assert len({row["onset"] for row in copy_rows}) > 5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_pulse_keeps_its_sign_and_decays_forward(sign):
    pcm = audio.to_int16(shot(20000, 9000, sign))
    p = with_(gun_copies=60, gain_db=(-6.0, 6.0), **NEVER)
    copy_rows, waves = copies(rows([7000], [2000]), p, pcm=pcm)
    for row, copy in zip(copy_rows, cut(copy_rows, waves), strict=True):
        y = sign * copy.astype(float)
        assert y.max() > 0 and y.min() > -0.3 * y.max()  # the resampler rings, no more
        after, before = (y[row["onset"] + k : row["onset"] + k + 100].mean() for k in (50, -150))
        assert after > 0.3 * y.max() > 10 * abs(before)


@pytest.mark.slow
def test_every_transform_is_drawn_by_its_share():
    p = with_(gun_copies=300, gain_db=(0.0, 0.0), shift=0.0, pitch_semitones=0.0, **NEVER)
    part = RECORDING[6000:13000]
    plain = copies(rows([1000], [2000]), with_(**{**p.model_dump(), "gun_copies": 1}), pcm=part)[1][0].astype(int)
    for share in NEVER:
        _, waves = copies(rows([1000], [2000]), with_(**{**p.model_dump(), share: 0.4}), pcm=part)
        changed = np.mean([np.abs(copy - plain).max() > 30 for copy in waves])
        assert 0.3 < changed < 0.5, share
