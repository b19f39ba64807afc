"""Frames and windows of a stream in any pieces against the whole array, cut by NumPy."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.detect import detector
from gunshot.models.model import Model
from tests.firmware import host_c

N_FFT, HOP, N_MELS, N_FRAMES = 512, 112, 32, 33
EACH, PAST = host_c.SETTINGS.hop, detector.PAST
ROW = np.dtype(
    [("peak", "u2"), ("past", "i1", (PAST + 1, N_MELS)), ("ends", "i1"), ("window", "i1", (N_FRAMES, N_MELS))],
    align=True,
)
MODEL = Model(None, {}, None, code_db=host_c.SCALE, code_zero=host_c.ZERO)
MANY = settings(deadline=None, max_examples=60, derandomize=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    generated, fft = host_c.generate(folder), host_c.dsp()
    library = ctypes.CDLL(str(host_c.build(generated, folder / "front.so", fft, "-shared", "-fPIC")))
    library.stream.restype = ctypes.c_size_t
    return library, host_c.build(generated, folder / "front", fft, *host_c.SANITIZE)


def at(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def streamed(library, pcm: np.ndarray, pieces: list[int]) -> np.ndarray:
    """What the C made of pieces of samples; one of length -1 is a gap."""
    lengths = np.array(pieces, np.int32)
    rows = np.zeros(len(pcm) // HOP + 1, ROW)
    count = library.stream(at(pcm), at(lengths), ctypes.c_size_t(len(lengths)), at(rows))
    return rows[:count]


def expected(library, pcm: np.ndarray) -> np.ndarray:
    """The same of samples without a gap, from the C's codes of each frame alone, which are Python's or next to them."""
    n = features.frames(len(pcm), n_fft=N_FFT, hop_length=HOP)
    rows = np.zeros(n, ROW)
    if n == 0:
        return rows
    mel, codes = np.empty((n, N_MELS), np.float32), np.empty((n, N_MELS), np.int8)
    library.log_mels(at(np.ascontiguousarray(pcm)), ctypes.c_size_t(n), at(mel), at(codes))
    truth = MODEL.codes(features.log_mel(pcm, sr=16000, **host_c.P.features.model_dump())).T
    assert np.abs(codes.astype(int) - truth).max() <= 1 and np.mean(codes != truth) < 1e-3
    rows["past"] = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([np.repeat(codes[:1], PAST, axis=0), codes]), PAST + 1, axis=0
    ).swapaxes(1, 2)
    for t in range(n):
        new = pcm[t * HOP + N_FFT - HOP if t else 0 : t * HOP + N_FFT]
        rows["peak"][t] = np.abs(new.astype(np.int32)).max()
    for t in range(N_FRAMES - 1, n, EACH):
        rows["ends"][t], rows["window"][t] = 1, codes[t - N_FRAMES + 1 : t + 1]
    return rows


def sound(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, rng.uniform(1, 20_000), n), -32768, 32767).astype(np.int16)


LENGTHS = st.one_of(st.just(-1), st.integers(0, 10), st.integers(0, 1000), st.integers(5000, 9000))


@MANY
@given(st.lists(LENGTHS, max_size=20), st.integers(0, 2**32))
@example([511, 1, 112, 111, 1, 8000, -1, 511, -1, 4096, -1, 4095], 3)
def test_any_pieces_and_gaps_give_what_the_whole_gives(built, pieces, seed):
    library, _ = built
    pcm = sound(sum(p for p in pieces if p > 0), seed)
    parts, start, length = [], 0, 0
    for p in [*pieces, -1]:
        if p >= 0:
            length += p
            continue
        parts.append(expected(library, pcm[start : start + length]))
        start, length = start + length, 0
    truth, found = np.concatenate(parts), streamed(library, pcm, pieces)
    assert len(found) == len(truth)
    for name in ROW.names:
        assert (found[name] == truth[name]).all(), name


def test_rises_of_the_frames_are_those_of_the_listener(built):
    """The first frame's past is itself; from then on a window of PAST + 1 frames moves along."""
    rows = streamed(built[0], sound(20_000, 5), [20_000])
    codes = rows["past"][:, -1]
    before = np.repeat(codes[:1], PAST, axis=0)
    whole = detector.rise(np.concatenate([before, codes]).T)
    assert [detector.rise(past.T)[0].tolist() for past in rows["past"]] == whole.tolist()
    assert (whole[0] == 0).all() and (whole > 0).any()


@pytest.mark.parametrize("kind", ["silence", "full scale", "noise", "square"])
def test_no_error_is_found_by_the_sanitizers(built, kind):
    """And the program that they watch says the same as the library."""
    library, program = built
    t = np.arange(20_011)
    pcm = {
        "silence": np.zeros(len(t), np.int16),
        "full scale": np.full(len(t), -32768, np.int16),
        "noise": sound(len(t), 1),
        "square": np.where(t % 160 < 80, 32767, -32768).astype(np.int16),
    }[kind]
    out = np.frombuffer(host_c.run(program, input=pcm.tobytes()).stdout, ROW)
    assert (out == streamed(library, pcm, [len(pcm)])).all()
    assert out["peak"].max() == np.abs(pcm.astype(int)).max()
