"""What records: a detector's own microphone, as it clips, takes the offset away and is drawn for recordings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from gunshot.base import audio
from gunshot.simulate import microphone
from gunshot.simulate.microphone import PASCAL, Device

SR = 16_000


def plain(full_scale: float) -> Device:
    """A device of a flat response, without noise or gain control."""
    return Device(np.array([1.0]), -60.0, 0.0, full_scale, False)


def high_passed(x: np.ndarray) -> np.ndarray:
    """`x` after an RC high-pass of 10 Hz, by the bilinear transform."""
    k = np.tan(np.pi * 10 / SR)
    return signal.lfilter(np.array([1, -1]) / (1 + k), [1, -(1 - k) / (1 + k)], x)


@given(peak_db=st.floats(-60, 20), full_scale_db=st.floats(105, 130), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_only_what_overloads_is_clipped_and_then_the_offset_is_taken_away(peak_db, full_scale_db, seed):
    rng, full_scale = np.random.default_rng(seed), PASCAL * 10 ** (full_scale_db / 20)
    y = rng.uniform(-1, 1, 4000).astype(np.float32)
    y *= full_scale * 10 ** (peak_db / 20) / np.abs(y).max()
    pcm = plain(full_scale).record(rng, y.copy(), SR).astype(int)
    held = np.where(np.abs(y) > full_scale, np.sign(y), y / full_scale)
    most = audio.FULL_SCALE
    assert np.abs(pcm - np.clip(high_passed(held) * most, -most, most - 1)).max() < 2.5


def test_an_offset_is_gone_and_a_shot_is_not():
    y = np.full(SR, 0.3, np.float32)
    y[SR // 2 : SR // 2 + 16] += 0.5
    pcm = plain(1.0).record(np.random.default_rng(0), y, SR) / audio.FULL_SCALE
    assert np.abs(pcm[SR // 4 : SR // 2]).max() < 1e-3
    assert pcm[SR // 2 : SR // 2 + 16] == pytest.approx(np.full(16, 0.5), abs=0.05)


def test_a_device_scales_nothing_by_what_sounds():
    y = np.random.default_rng(1).standard_normal(8000).astype(np.float32)
    for seed in range(20):
        device = Device.draw(np.random.default_rng(seed), SR)
        if not device.gain_control:
            loud, soft = (device.record(np.random.default_rng(9), x * y, SR).astype(float) for x in (0.2, 0.02))
            floor = device.floor / device.full_scale * audio.FULL_SCALE
            assert loud.std() == pytest.approx(10 * soft.std(), rel=0.02 + 3 * floor / soft.std())


def test_a_silent_place_is_heard_as_the_microphones_own_noise():
    """Its self-noise, dither and rounding, in steps of the converter."""
    for seed in range(30):
        device = Device.draw(np.random.default_rng(seed), SR)
        assert 20 <= device.self_noise_db <= 40
        if not device.gain_control:
            pcm = device.record(np.random.default_rng(1), np.zeros(2 * SR, np.float32), SR).astype(float)
            assert pcm.std() == pytest.approx(device.floor / device.full_scale * audio.FULL_SCALE, rel=0.15)


def test_devices_overload_as_mems_microphones_do():
    points = [20 * np.log10(Device.draw(np.random.default_rng(i), SR).full_scale / PASCAL) for i in range(200)]
    assert 115 <= min(points) < 117 and 133 < max(points) <= 135
    y = np.random.default_rng(0).uniform(-1, 1, 2000)
    by_point = [
        20 * np.log10(microphone._full_scale(np.random.default_rng(i), y) / PASCAL / np.sqrt(2)) for i in range(300)
    ]
    assert np.std(by_point) > 8  # a microphone's point, or a hand's


def test_a_capsule_lets_no_offset_through_and_nothing_early():
    shapes = []
    for i in range(60):
        h = microphone._response(np.random.default_rng(i), SR)
        gain_db = 20 * np.log10(np.abs(np.fft.rfft(h)))
        hz = np.fft.rfftfreq(len(h), 1 / SR)
        shapes.append(gain_db[(hz > 500) & (hz < 7000)])
        assert gain_db[0] < gain_db[hz > 300].max() - 20
        assert np.sum(h[: len(h) // 8] ** 2) > 0.9 * np.sum(h**2)  # of least delay
    assert np.std(np.array(shapes) - np.mean(shapes, axis=1, keepdims=True)) > 2


def test_gain_control_brings_loud_and_soft_together():
    y = np.random.default_rng(0).standard_normal(4 * SR)
    y[: 2 * SR] *= 0.1
    for i in range(40):
        samples = microphone._gain_control(np.random.default_rng(i), y / 4, SR)
        step_db = 20 * np.log10(samples[3 * SR :].std() / samples[SR : 2 * SR].std())
        assert 0 < step_db < 19


def test_band_limits_are_those_of_rates_from_8_khz_up():
    y, ends = np.random.default_rng(0).standard_normal(SR), []
    for i in range(60):
        power = np.abs(np.fft.rfft(microphone._band_limit(np.random.default_rng(i), y, SR))) ** 2
        level_db = 10 * np.log10(np.convolve(power / power[500:3000].mean(), np.ones(50) / 50, "valid"))
        ends.append(np.argmax(np.r_[level_db[500:], -99] < -12) + 500)  # Hz: a bin is one
    assert 3000 < min(ends) < 4000 and max(ends) > 7000


def draws(monkeypatch, recorded: np.ndarray, count: int = 300, **kwargs) -> int:
    """How many of `count` recordings are what a device recorded, were that `recorded`."""
    monkeypatch.setattr(Device, "record", lambda self, rng, y, sr: recorded)
    y = 0.1 * np.random.default_rng(0).standard_normal(len(recorded))
    recordings = [microphone.microphone(np.random.default_rng(i), y, SR, **kwargs) for i in range(count)]
    return sum(np.array_equal(pcm, recorded) for pcm in recordings)


@pytest.mark.slow
def test_two_recordings_of_five_are_a_device_s_own_where_they_are_usable(monkeypatch):
    rng = np.random.default_rng(2)
    usable = rng.integers(-3000, 3000, 2000).astype(np.int16)
    assert draws(monkeypatch, usable) == pytest.approx(120, abs=4 * np.sqrt(300 * 0.4 * 0.6))
    assert draws(monkeypatch, usable, 40, ideal=True) == 0


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_what_is_all_clipped_is_no_recording(monkeypatch, share):
    pcm = np.zeros(2000, np.int16)
    pcm[: int(share * len(pcm))] = 32767
    assert (draws(monkeypatch, pcm, 40) > 0) == (share < 0.4)


@pytest.mark.parametrize("peak", [5, 15])
def test_what_is_too_soft_is_no_recording(monkeypatch, peak):
    """3e-4 of full scale are 9.8 steps."""
    pcm = np.tile(np.array([peak, -peak], np.int16), 1000)
    assert (draws(monkeypatch, pcm, 40) > 0) == (peak > 9.8)
