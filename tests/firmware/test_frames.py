"""Frames and windows of a stream in any pieces against the whole array, cut by NumPy."""

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.detect import detector
from gunshot.models.model import Model
from tests.firmware import host_c

pytestmark = pytest.mark.slow

N_FFT, HOP, N_MELS, PAST = 512, 112, 32, detector.PAST
MODEL = Model(None, {}, None, (N_MELS, 71), code_db=host_c.SCALE, code_zero=host_c.ZERO)
MANY = settings(deadline=None, max_examples=60, derandomize=True)
SETTINGS = {
    "a network's": host_c.SETTINGS,
    "a forest's": replace(host_c.SETTINGS, n_frames=33, first=2, stop=26),
    "each frame's": replace(host_c.SETTINGS, n_frames=33, hop=1, first=2, stop=27),
    "no lead": replace(host_c.SETTINGS, n_frames=33, hop=33, first=2, stop=27),
}


@dataclass
class Built:
    """The front end as a library and as a program, and the settings that they are for."""

    settings: detector.Settings
    library: ctypes.CDLL
    program: Path

    @property
    def row(self) -> np.dtype:
        """What front_end.c tells of a frame."""
        window = (self.settings.n_frames, N_MELS)
        fields = [("peak", "u2"), ("past", "i1", (PAST + 1, N_MELS)), ("ends", "i1"), ("window", "i1", window)]
        return np.dtype(fields, align=True)


@pytest.fixture(scope="module", params=SETTINGS)
def built(request, tmp_path_factory):
    folder, chosen = tmp_path_factory.mktemp("frames"), SETTINGS[request.param]
    generated, fft = host_c.generate(folder, settings=chosen), host_c.dsp()
    library = ctypes.CDLL(str(host_c.build(generated, folder / "front.so", fft, "-shared", "-fPIC")))
    library.stream.restype = ctypes.c_size_t
    return Built(chosen, library, host_c.build(generated, folder / "front", fft, *host_c.SANITIZE))


def at(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def streamed(built: Built, pcm: np.ndarray, pieces: list[int]) -> np.ndarray:
    """What the C made of pieces of samples; one of length -1 is a gap."""
    lengths = np.array(pieces, np.int32)
    rows = np.zeros(len(pcm) // HOP + 1, built.row)
    count = built.library.stream(at(pcm), at(lengths), ctypes.c_size_t(len(lengths)), at(rows))
    return rows[:count]


def expected(built: Built, pcm: np.ndarray) -> np.ndarray:
    """The same of samples without a gap, from the C's codes of each frame alone, which are Python's or next to them.

    The first frame stands for all before it; windows end a hop apart, one after n_frames - lead frames.
    """
    s = built.settings
    n = features.frames(len(pcm), n_fft=N_FFT, hop_length=HOP)
    rows = np.zeros(n, built.row)
    if n == 0:
        return rows
    mel, codes = np.empty((n, N_MELS), np.float32), np.empty((n, N_MELS), np.int8)
    built.library.log_mels(at(np.ascontiguousarray(pcm)), ctypes.c_size_t(n), at(mel), at(codes))
    truth = MODEL.codes(features.log_mel(pcm, sr=16000, **host_c.P.features.model_dump())).T
    assert np.abs(codes.astype(int) - truth).max() <= 1 and np.mean(codes != truth) < 1e-3
    whole = np.concatenate([np.repeat(codes[:1], s.n_frames - 1, axis=0), codes])
    for t in range(n):
        new = pcm[t * HOP + N_FFT - HOP if t else 0 : t * HOP + N_FFT]
        rows["peak"][t] = np.abs(new.astype(np.int32)).max()
        rows["past"][t] = whole[: t + s.n_frames][-PAST - 1 :]
        if (t + 1 - (s.n_frames - s.lead)) % s.hop == 0:
            rows["ends"][t], rows["window"][t] = 1, whole[t : t + s.n_frames]
    return rows


def sound(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, rng.uniform(1, 20_000), n), -32768, 32767).astype(np.int16)


LENGTHS = st.one_of(st.just(-1), st.integers(0, 10), st.integers(0, 1000), st.integers(5000, 9000))


@MANY
@given(st.lists(LENGTHS, max_size=20), st.integers(0, 2**32))
@example([511, 1, 112, 111, 1, 8000, -1, 511, -1, 4096, -1, 4095], 3)
def test_any_pieces_and_gaps_give_what_the_whole_gives(built, pieces, seed):
    pcm = sound(sum(p for p in pieces if p > 0), seed)
    parts, start, length = [], 0, 0
    for p in [*pieces, -1]:
        if p >= 0:
            length += p
            continue
        parts.append(expected(built, pcm[start : start + length]))
        start, length = start + length, 0
    truth, rows = np.concatenate(parts), streamed(built, pcm, pieces)
    assert len(rows) == len(truth)
    for name in built.row.names:
        assert (rows[name] == truth[name]).all(), name


def test_rises_of_the_frames_are_those_of_the_listener(built):
    """The first frame's past is itself; from then on a window of PAST + 1 frames moves along."""
    rows = streamed(built, sound(20_000, 5), [20_000])
    codes = rows["past"][:, -1]
    before = np.repeat(codes[:1], PAST, axis=0)
    whole = detector.rise(np.concatenate([before, codes]).T)
    assert [detector.rise(past.T)[0].tolist() for past in rows["past"]] == whole.tolist()
    assert (whole[0] == 0).all() and (whole > 0).any()


@pytest.mark.parametrize("kind", ["silence", "full scale", "noise", "square"])
def test_no_error_is_found_by_the_sanitizers(built, kind):
    """And the program that they watch says the same as the library."""
    t = np.arange(20_011)
    pcm = {
        "silence": np.zeros(len(t), np.int16),
        "full scale": np.full(len(t), -32768, np.int16),
        "noise": sound(len(t), 1),
        "square": np.where(t % 160 < 80, 32767, -32768).astype(np.int16),
    }[kind]
    out = np.frombuffer(host_c.run(built.program, input=pcm.tobytes()).stdout, built.row)
    assert (out == streamed(built, pcm, [len(pcm)])).all()
    assert out["peak"].max() == np.abs(pcm.astype(int)).max()
