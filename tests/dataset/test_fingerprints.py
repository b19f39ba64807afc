"""Near-duplicates: copies are found whatever was done to them, and different recordings are not."""

import io
import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import soxr

from gunshot.base import audio
from gunshot.dataset import fingerprints
from gunshot.simulate import corpus

SR = 16000
CORPUS = corpus.Corpus(seed=77, duration_s=(2.0, 3.0), distance_m=(2.0, 200.0), sr=SR)


def recording(index: int, class_: str = "gun") -> np.ndarray:
    return corpus.render(class_, index, CORPUS).pcm


def encoded(y: np.ndarray, *, format: str, subtype: str) -> np.ndarray:
    stream = io.BytesIO()
    sf.write(stream, y, SR, format=format, subtype=subtype, compression_level=0.9)
    stream.seek(0)
    return sf.read(stream, dtype="float32")[0]


CHANGES = {
    "itself": lambda y: y,
    "20 dB softer": lambda y: 0.1 * y,
    "clipped": lambda y: np.clip(3 * y, -1, 1),
    "mp3": lambda y: encoded(y, format="MP3", subtype="MPEG_LAYER_III"),
    "ogg": lambda y: encoded(y, format="OGG", subtype="VORBIS"),
    "22.05 kHz and back": lambda y: soxr.resample(soxr.resample(y, SR, 22050), 22050, SR),
    "noise at 20 dB": lambda y: y + 0.1 * y.std() * np.random.default_rng(0).standard_normal(len(y)).astype(np.float32),
}


def pairs(tmp_path, recordings: dict[str, np.ndarray]) -> pd.DataFrame:
    for name, pcm in recordings.items():
        audio.write_pcm(tmp_path / name, pcm, sr=SR)
    return fingerprints.pairs(list(recordings), tmp_path, sr=SR, workers=2)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_among_others(tmp_path, change):
    y = audio.to_float(recording(3))
    y = y / np.abs(y).max()
    copy = audio.to_int16(np.asarray(CHANGES[change](y), np.float32))
    others = {f"{i}.wav": recording(i) for i in range(10, 14)}
    links = pairs(tmp_path, {"a.wav": audio.to_int16(y), "b.wav": copy, **others})
    assert links[["a", "b"]].to_numpy().tolist() == [["a.wav", "b.wav"]]
    assert links["similarity"].between(fingerprints.SIMILARITY, 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("cut", [4000, 9111])
def test_a_part_of_a_recording_is_found_with_its_place(tmp_path, cut):
    pcm = recording(4)  # whose shot is in both parts
    (row,) = pairs(tmp_path, {"a.wav": pcm, "b.wav": pcm[cut:]}).to_dict("records")
    assert row["offset_s"] == pytest.approx(cut / SR, abs=0.001)


@pytest.mark.slow
def test_different_recordings_of_a_corpus_are_not_linked(tmp_path):
    recordings = {f"{class_}{i}.wav": recording(i, class_) for class_ in ("gun", "env") for i in range(40)}
    assert pairs(tmp_path, recordings).empty


@pytest.mark.slow
def test_a_hum_that_two_recordings_share_does_not_link_them(tmp_path):
    hum = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(3 * SR) / SR)
    noisy = [audio.to_int16(hum + 0.01 * np.random.default_rng(i).standard_normal(3 * SR)) for i in (0, 1)]
    assert pairs(tmp_path, {"a.wav": noisy[0], "b.wav": noisy[1]}).empty


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 500, 2047, 2048, 4000])
def test_silence_and_the_shortest_recordings_link_nothing(tmp_path, n):
    assert pairs(tmp_path, {"a.wav": np.zeros(n, np.int16), "b.wav": np.zeros(n, np.int16)}).empty


def counted(prints: list[np.ndarray]) -> list[list[int]]:
    """Pair by pair, with their equal hashes: of each the offset of most, the smallest where some have as many."""
    holders = Counter(hash_ for own in prints for hash_ in own[:, 0].tolist())
    rows = []
    for a, b in itertools.combinations(range(len(prints)), 2):
        votes = Counter(
            int(i - j)
            for (one, i), (other, j) in itertools.product(prints[a], prints[b])
            if one == other and holders[one] <= fingerprints.COMMON
        )
        offset, count = min(votes.items(), key=lambda vote: (-vote[1], vote[0]), default=(0, 0))
        rows += [[a, b, offset, count]] if count >= fingerprints.HASHES else []
    return rows


def drawn(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.stack([rng.zipf(1.4, n) % 50, rng.integers(0, 6, n)], axis=1).astype(np.int64)
        for n in rng.integers(0, 25, 12).tolist()
    ]


@pytest.mark.parametrize("block", [1, 3, 512])
@pytest.mark.parametrize("seed", range(4))
def test_candidates_are_those_counted_pair_by_pair_whatever_the_block(monkeypatch, seed, block):
    monkeypatch.setattr(fingerprints, "BLOCK", block)
    monkeypatch.setattr(fingerprints, "FEW", 12)  # all
    prints = drawn(seed)
    rows = fingerprints.candidates(prints)
    assert rows.tolist() == [row[:3] for row in counted(prints)] and rows.dtype == np.int64 and len(rows) > 3


@pytest.mark.parametrize("seed", range(4))
def test_candidates_of_a_few_hashes_are_the_best_of_one_of_their_recordings(monkeypatch, seed):
    """With SURE hashes a pair stays, whatever else its recordings share."""
    for name, value in {"COMMON": 1000, "SURE": 9, "FEW": 1}.items():
        monkeypatch.setattr(fingerprints, name, value)
    prints = drawn(seed)
    every = counted(prints)
    others = sorted((row for row in every if row[3] < 9), key=lambda row: -row[3])
    kept = {tuple(row[:3]) for row in every if row[3] >= 9}
    for end, recording in itertools.product((0, 1), range(len(prints))):
        kept |= {tuple(row[:3]) for row in [row for row in others if row[end] == recording][:1]}
    assert 3 < len(kept) < len(every)
    assert fingerprints.candidates(prints).tolist() == sorted(map(list, kept))


def test_candidates_of_recordings_that_share_hashes_by_chance_grow_with_the_recordings():
    rng = np.random.default_rng(0)
    one, four = (
        [np.stack([rng.integers(0, 8 * n, 400), rng.integers(0, 2, 400)], axis=1) for _ in range(n)] for n in (60, 240)
    )
    assert 4 * len(fingerprints.candidates(one)) * 1.05 > len(fingerprints.candidates(four)) > 240


def test_linked_groups_get_the_smallest_name():
    listed = pd.DataFrame({"path": list("123456"), "recording_group": ["d", "b", "c", "a", "e", "b"]})
    links = pd.DataFrame({"a": ["1", "3", "4"], "b": ["6", "2", "5"]})
    assert fingerprints.merged(listed, links).tolist() == ["b", "b", "b", "a", "a", "b"]
    assert fingerprints.merged(listed, links[:0]).tolist() == listed["recording_group"].tolist()
