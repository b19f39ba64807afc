"""Windows of half a second: a chunk, what sounds around it, and its recording's quiet where nothing does."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio, params, tables
from stages import featurize

REPO = Path(__file__).parents[2]
P = params.load("audio", "features", "context", path=REPO / "params.yaml")
SR, L, HOP, N_FFT = P.audio.sr, P.audio.chunk_length, P.features.hop_length, P.features.n_fft
FRAMES, BEFORE = P.context.frames, P.context.before
MEL = {"sr": SR, **P.features.model_dump()}


def sound(n: int, seed: int) -> np.ndarray:
    """Noise whose level changes, so that no two frames are alike."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(n) * 300 * (1 + rng.uniform(0, 9, n // 500 + 1).repeat(500)[:n])).astype(np.int16)


def sections(frames: int, before: int) -> SimpleNamespace:
    context = P.context.model_copy(update={"frames": frames, "before": before})
    return SimpleNamespace(**vars(P) | {"context": context})


@settings(max_examples=40)
@given(
    st.integers(L, 30_000), st.data(), st.integers(0, 2**32), st.sampled_from([(71, 10), (71, 0), (40, 7), (143, 60)])
)
def test_a_window_s_frames_are_the_recording_s_or_its_quiet(n, data, seed, size):
    """Frame t of a window is that of the samples from START + (t - before) * hop on, wherever a chunk starts."""
    frames, before = size
    pcm, starts = sound(n, seed), data.draw(st.lists(st.integers(0, n - L), min_size=1, max_size=3))
    windows, padded = features.windows(pcm, starts, sections(*size))
    still = features.quiet(features.log_mel(pcm, **MEL), 1)[:, 0]
    assert windows.dtype == np.float32 and windows.shape == (len(starts), 32, frames) and padded.shape == (len(starts),)
    for window, count, start in zip(windows, padded, starts, strict=True):
        first = start + (np.arange(frames) - before) * HOP
        there = (first >= 0) & (first + N_FFT <= n)
        alone = features.log_mel(np.stack([pcm[t : t + N_FFT] for t in first[there]]), **MEL)[..., 0]
        assert np.array_equal(window[:, there].T, alone)
        assert (window[:, ~there] == still[:, None]).all()
        assert count == (~there).sum() <= frames - 33


@given(st.integers(L, 30_000), st.data(), st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_chunk_of_a_window_is_the_chunk_s_log_mel_to_the_bit(n, data, seed):
    pcm, starts = sound(n, seed), data.draw(st.lists(st.integers(0, n - L), min_size=1, max_size=4))
    windows, _ = features.windows(pcm, starts, P)
    expected = features.log_mel(np.stack([pcm[start : start + L] for start in starts]), **MEL)
    assert np.array_equal(features.of_chunks(windows, P), expected)
    assert np.array_equal(features.heard(windows, 33, P), expected) and features.heard(windows, FRAMES, P) is windows
    assert features.chunk_frames(P) == expected.shape[-1] == 33


def test_of_no_chunks_no_windows():
    windows, padded = features.windows(sound(9000, 0), [], P)
    assert windows.shape == (0, 32, FRAMES) and padded.shape == (0,)


def test_quiet_is_each_band_s_level_for_a_tenth_of_the_time():
    """By hand, and whatever the order of time is; a shot that lasts for less than nine tenths does not raise it."""
    mel = np.linspace(-80, -30, 101, dtype=np.float32)[None] + np.float32([[0], [10]])
    assert features.quiet(mel, 3).tolist() == [[-75.0] * 3, [-65.0] * 3]
    assert np.array_equal(features.quiet(mel[:, ::-1], 3), features.quiet(mel, 3))
    loud = mel.copy()
    loud[:, 12:] += 40
    assert np.array_equal(features.quiet(loud, 3), features.quiet(mel, 3))
    assert features.quiet(mel, 3).dtype == np.float32


@given(st.integers(0, 80), st.integers(0, 80), st.integers(1, 50))
def test_a_recording_in_quiet_has_its_own_on_either_side(before, after, frames):
    mel = np.random.default_rng(frames).normal(-60, 9, (4, frames)).astype(np.float32)
    extended = features.in_quiet(mel, before, after)
    assert extended.shape == (4, before + frames + after) and extended.dtype == np.float32
    assert np.array_equal(extended[:, before : before + frames], mel)
    still = features.quiet(mel, 1)
    assert (extended[:, :before] == still).all() and (extended[:, before + frames :] == still).all()


@pytest.mark.slow
def test_the_stage_cuts_windows_from_recordings_and_from_whole_copies(tmp_path, monkeypatch, capsys):
    """Each row's window is that of its own recording or copy at its start; the share of padding is said."""
    (tmp_path / "params.yaml").write_bytes((REPO / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    row = {name: dtype() for name, dtype in tables.CHUNK.items()} | {"source": "s", "label": "l"}
    own, sides, files = [], [], {}
    for i, (side, class_) in enumerate((s, c) for s in tables.SIDES for c in ("gun", "env")):
        name = f"s/{class_}/{side}.wav"
        files[f"raw/{name}"] = sound(9000 + 700 * i, i)
        for start in (0, 3000 + i):
            own.append(row | {"chunk": f"{name}#{start}", "path": name, "recording": name, "start": start,
                              "class": class_, "recording_group": f"{class_}:{side}"})  # fmt: skip
        sides.append({"recording_group": f"{class_}:{side}", "side": side, "class": class_, "source": "s"})
    copies = [r | {"chunk": r["chunk"] + "~0", "path": "0/" + r["path"], "start": r["start"] + 50}
              for r in own if r["recording_group"] == "gun:train"]  # fmt: skip
    files["augmented/0/s/gun/train.wav"] = sound(9500, 99)
    for path, pcm in files.items():
        audio.write_pcm(Path(path), pcm, sr=SR)
    tables.write(Path("chunks/chunks.csv"), tables.frame(own[::-1], tables.CHUNK))
    tables.write(Path("augmented/chunks.csv"), tables.frame(copies, tables.CHUNK))
    tables.write(Path("splits.csv"), tables.frame(sides, tables.SPLIT))
    featurize.main(*map(Path, ("raw", "chunks", "augmented", "splits.csv", "features")))
    padded = {}
    for side, count in (("train", 6), ("val", 4), ("test", 4)):
        x, _, table = tables.features(Path("features"), side)
        assert x.shape == (count, 32, FRAMES) and x.dtype == np.float32 and len(table) == count
        total = 0
        for window, one in zip(x, table.itertuples(), strict=True):
            copy = one.chunk.endswith("~0")
            pcm = files[("augmented/" if copy else "raw/") + one.path]
            (expected,), (some,) = features.windows(pcm, [one.start], P)
            assert np.array_equal(window, expected)
            total += some
        padded[side] = f"{total / count / FRAMES:.1%} of the frames padded"
        assert sum(table["chunk"].str.endswith("~0")) == (2 if side == "train" else 0)
    said = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert all(said[side].endswith(words) for side, words in padded.items())
