"""Chunks: where the shot lies, the recording's ends, the hop, and the packed wavs."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.base import audio, seeds, tables
from gunshot.dataset import chunks

L = 4096
CUT = {"draws": 4, "most": 1000, "jitter": (0.05, 0.75), "chunk_length": L}


@st.composite
def cuts(draw):
    n = draw(st.integers(L, 60000))
    shots = draw(st.lists(st.integers(0, n - 1), max_size=5, unique=True))
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return (
        n,
        shots,
        {"draws": draw(st.integers(1, 6)), "most": draw(st.integers(1, 40)), "jitter": (low, high), "chunk_length": L},
    )


@given(cuts(), st.integers(0, 2**32))
def test_every_chunk_holds_its_shot_where_jitter_puts_it(case, seed):
    n, shots, options = case
    starts, onsets = chunks.around_tags(shots, n, np.random.default_rng(seed), **options)
    assert starts.dtype == onsets.dtype == np.int64 and starts.shape == onsets.shape
    assert len(starts) <= min(options["most"], len(shots) * options["draws"]) and np.all(np.diff(starts) > 0)
    assert np.all(starts >= 0) and np.all(starts + L <= n) and np.all((onsets >= 0) & (onsets < L))
    assert set((starts + onsets).tolist()) <= set(shots)
    low, high = (min(share * L, L - 1) for share in options["jitter"])
    free = (starts > 0) & (starts < n - L)
    assert np.all(onsets[free] >= np.floor(low)) and np.all(onsets[free] <= np.ceil(high))


def test_every_tag_gets_its_draws_spread_over_the_range():
    shots = np.arange(10000, 400000, 3001)
    starts, onsets = chunks.around_tags(shots, 500000, np.random.default_rng(0), **CUT)
    counts = pd.Series(starts + onsets).value_counts()
    assert len(counts) == len(shots) and counts.min() >= 3 and counts.mean() > 3.9
    share = onsets / L
    assert share.min() < 0.08 and share.max() > 0.72
    assert np.histogram(share, bins=7, range=(0.05, 0.75))[0].min() > len(share) / 14


@pytest.mark.parametrize(("n", "shot"), [(L, 0), (L, L - 1), (20000, 0), (20000, 150), (20000, 19999), (20000, 17000)])
def test_at_the_ends_the_chunk_moves_inside(n, shot):
    starts, onsets = chunks.around_tags([shot], n, np.random.default_rng(1), **CUT)
    assert np.all((starts >= 0) & (starts <= n - L)) and np.all(starts + onsets == shot)


def test_a_jitter_of_one_is_the_last_sample():
    options = {"draws": 1, "most": 9, "jitter": (1.0, 1.0), "chunk_length": L}
    starts, onsets = chunks.around_tags([9000], 20000, np.random.default_rng(0), **options)
    assert (starts.tolist(), onsets.tolist()) == ([9000 - L + 1], [L - 1])


def test_a_long_burst_gives_no_more_chunks_than_most():
    shots = np.arange(10000, 400000, 3001)
    whole = set(chunks.around_tags(shots, 500000, np.random.default_rng(0), **CUT)[0])
    starts, onsets = chunks.around_tags(shots, 500000, np.random.default_rng(0), **{**CUT, "most": 12})
    assert len(starts) == len(onsets) == 12 and set(starts) < whole and np.all(np.diff(starts) > 0)
    assert starts[-1] - starts[0] > 100000 and set(starts + onsets) <= set(shots)


def test_equal_starts_are_given_once():
    starts, _ = chunks.around_tags([0, 10, 20], L, np.random.default_rng(0), **CUT)
    assert starts.tolist() == [0]


def test_no_tags_no_chunks():
    starts, onsets = chunks.around_tags([], L, np.random.default_rng(0), **CUT)
    assert len(starts) == len(onsets) == 0 and starts.dtype == np.int64


def test_too_short_a_recording_is_named():
    with pytest.raises(ValueError, match="n=4095 samples must be at least chunk_length=4096"):
        chunks.around_tags([5], 4095, np.random.default_rng(0), **CUT)


@given(st.permutations([f"mine/gun/{i}.wav" for i in range(6)]))
def test_a_recording_is_cut_alike_whatever_the_order_of_the_corpus(order):
    alone = {name: chunks.around_tags([9000], 20000, seeds.generator(2, name), **CUT)[0].tolist() for name in order}
    again = {name: chunks.around_tags([9000], 20000, seeds.generator(2, name), **CUT)[0].tolist() for name in order[:3]}
    assert all(alone[name] == starts for name, starts in again.items())
    assert len({tuple(starts) for starts in alone.values()}) == len(order)


@given(st.integers(0, 40000), st.integers(1, 9000))
def test_at_hop_gives_all_whole_chunks(n, hop):
    expected = [start for start in range(0, n, hop) if start + L <= n]
    starts = chunks.at_hop(n, hop=hop, chunk_length=L)
    assert starts.dtype == np.int64 and starts.tolist() == expected


def test_cut_takes_the_samples_as_they_are():
    pcm = np.arange(10000).astype(np.int16)
    pieces = chunks.cut(pcm, np.array([0, 7, 5904]), chunk_length=L)
    assert pieces.dtype == np.int16 and pieces.shape == (3, L)
    assert all(np.array_equal(row, pcm[start : start + L]) for row, start in zip(pieces, (0, 7, 5904), strict=True))
    assert chunks.cut(pcm, np.zeros(0, np.int64), chunk_length=L).shape == (0, L)


RECORDING = {"path": "mine/gun/a, b.wav", "class": "gun", "label": "rifle", "recording_group": "g", "source": "s"}


def test_rows_name_chunk_place_and_onset():
    rows = chunks.rows({**RECORDING, "sha256": "x"}, np.array([5, 90]), np.array([7, -1]))
    assert rows == [
        {"chunk": "mine/gun/a, b.wav#5", "index": 0, "recording": RECORDING["path"], "start": 5, "onset": 7}
        | RECORDING,
        {"chunk": "mine/gun/a, b.wav#90", "index": 1, "recording": RECORDING["path"], "start": 90, "onset": -1}
        | RECORDING,
    ]
    assert set(rows[0]) == set(tables.CHUNK)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Two packed wavs, 3 and 2 chunks of 16 samples, and their table; sample = 1000 wav + 100 chunk + place."""
    folder, rows = tmp_path_factory.mktemp("packed"), []
    for wav, count in ((0, 3), (1, 2)):
        pcm = np.concatenate([1000 * wav + 100 * i + np.arange(16) for i in range(count)]).astype(np.int16)
        path = f"mine/gun/{wav}.wav"
        audio.write_pcm(folder / path, pcm, sr=16000)
        rows += chunks.rows({**RECORDING, "path": path}, np.arange(count) * 50, np.zeros(count, int))
    return folder, tables.frame(rows, tables.CHUNK)


@given(order=st.permutations(range(5)), count=st.integers(0, 5))
def test_load_gives_rows_in_the_table_s_order(packed, order, count):
    folder, table = packed
    part = table.iloc[list(order)[:count]]
    samples = chunks.load(folder, part, sr=16000, chunk_length=16)
    wav = part["path"].str.contains("/1.wav").to_numpy()
    expected = (1000 * wav + 100 * part["index"].to_numpy())[:, None] + np.arange(16)
    assert samples.dtype == np.int16 and samples.shape == (count, 16) and np.array_equal(samples, expected)


@pytest.mark.parametrize("fault", ["missing", "short", "rate"])
def test_load_names_the_wav_at_fault(packed, tmp_path, fault):
    shutil.copytree(packed[0], tmp_path, dirs_exist_ok=True)
    folder, table = tmp_path, packed[1]
    path = folder / "mine/gun/1.wav"
    if fault == "missing":
        path.unlink()
    else:
        audio.write_pcm(
            path, np.zeros(31 if fault == "short" else 32, np.int16), sr=16000 if fault == "short" else 8000
        )
    rule = {"missing": "libsndfile", "short": "31 samples: chunks.csv needs 2 chunks of 16 samples", "rate": "8000 Hz"}
    with pytest.raises(audio.AudioError, match=rule[fault]) as e:
        chunks.load(folder, table, sr=16000, chunk_length=16)
    assert e.value.path == str(path)
