"""A user's files, heard as a device hears them: after quiet, so that a shot that opens a file counts."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio, params, processes, tables
from gunshot.studies import recordings
from gunshot.studies.recordings import score_file

P = params.load("audio", "context", "features", "detector", "chunks", "tags", "evaluate")
SR, BEFORE = P.audio.sr, 8000


class Rise:
    """A model whose score is the rise from a chunk's first frames to its middle, dB."""

    def __init__(self, n_frames: int):
        self.window = P.features.n_mels, n_frames

    def sweep(self, log_mel, *, hop):
        before = P.context.before if self.window[1] == P.context.frames else 0
        starts = range(before, log_mel.shape[1] - self.window[1] + before + 1, hop)
        level = log_mel.mean(axis=0)
        return np.array([level[s + 12 : s + 20].mean() - level[s : s + 4].mean() for s in starts])


@pytest.fixture(params=[features.chunk_frames(P), P.context.frames], ids=["chunk", "context"])
def score(request, tmp_path, monkeypatch):
    def scored(y, class_="gun"):
        audio.write_pcm(tmp_path / "x.wav", audio.to_int16(y), sr=SR)
        source = {"file": tmp_path / "x.wav", "path": "x.wav", "class": class_}
        return score_file(source, {"rise": "x.tflite"}, P)

    monkeypatch.setattr(recordings, "load_once", lambda path: Rise(request.param))
    return scored


def shot(seed):
    """Quiet, and from sample BEFORE on noise that decays by 60 dB a second."""
    rng = np.random.default_rng(seed)
    y = 1e-3 * rng.standard_normal(BEFORE + SR)
    y[BEFORE:] += 0.2 * rng.standard_normal(SR) * 10 ** (-3 * np.arange(SR) / SR)
    return y.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_begins_with_its_shot_scores_as_one_that_does_not(score, seed):
    y = shot(seed)
    whole, opened = score(y), score(y[BEFORE:])
    assert opened[1]["rise"] == pytest.approx(whole[1]["rise"], abs=6)
    assert opened[1]["rise"] > 25 > score(y[BEFORE + SR // 2 :])[1]["rise"]
    assert opened[1]["rise_cut"] == opened[1]["rise"]
    assert min(row["start"] for row in opened[0]) < 0 <= min(row["start"] for row in whole[0])


def test_every_window_of_an_environment_file_counts_those_that_start_before_it_too(score):
    windows, file, bad = score(shot(0), "env")
    starts = np.array([row["start"] for row in windows])
    hop = P.detector.hop * P.features.hop_length
    assert starts[0] == -4 * hop and (np.diff(starts) == hop).all() and not bad
    assert starts[-1] <= len(shot(0)) - P.audio.chunk_length < starts[-1] + hop
    assert file["rise"] == max(row["rise"] for row in windows)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_quiet_is_what_a_tenth_of_the_frames_are_below(seed, n):
    log_mel = np.random.default_rng(seed).normal(-50, 10, (4, n)).astype(np.float32)
    lead = features.quiet(log_mel, 3)
    assert lead.shape == (4, 3) and lead.dtype == np.float32 and (lead == lead[:, :1]).all()
    below = (log_mel < lead[:, :1]).sum(axis=1)
    assert (below <= np.ceil(0.1 * (n - 1))).all() and ((log_mel <= lead[:, :1]).sum(axis=1) >= 0.1 * (n - 1)).all()


def test_no_frames_of_a_fake_quiet_are_louder_than_the_file():
    log_mel = np.full((2, 5), -70, np.float32)
    assert (features.quiet(log_mel, 4) == -70).all()


def test_the_sources_columns_stay(score):
    _, file, _ = score(shot(1))
    assert file["path"] == "x.wav" and file["y"] == 1 and file["onsets"] == 1


def test_too_many_files_that_cannot_be_read_are_an_error(monkeypatch, tmp_path):
    bad = {"file": "x.wav", "value": "0 samples", "rule": "a recording must not be empty"}

    def score(row, models, p, logits):
        lost = row["number"] < unreadable
        return [row], None if lost else {"path": row["path"], "score": 0.1}, [bad] if lost else []

    monkeypatch.setattr(recordings, "score_file", score)
    monkeypatch.setattr(processes, "in_order", lambda f, items, *shared, **_: (score(i, *shared) for i in items))
    listed = [{"path": f"{i}.wav", "number": i} for i in range(20)]
    p = params.load("quality")
    unreadable = 1
    files = recordings.file_scores(listed, tmp_path, p, title="")
    assert files["path"].tolist() == [f"{i}.wav" for i in range(1, 20)]
    whole = recordings.score_files(listed, {"score": tmp_path}, p, rejected=[bad], title="", logits={"score": 0.0})
    assert (len(whole.windows), len(whole.files), len(whole.rejected)) == (20, 19, 2)
    unreadable = 5
    with pytest.raises(ValueError, match="5 of 20 rejected"):
        recordings.file_scores(listed, tmp_path, p, title="")


def test_links_are_followed_names_need_not_be_text_and_sidecars_count_for_nothing(tmp_path, monkeypatch):
    root, latin = tmp_path / "mine", os.fsdecode(b"caf\xe9.wav")
    for kind in ("gun", "env"):
        (root / kind).mkdir(parents=True)
        audio.write_pcm(tmp_path / f"{kind}.wav", audio.to_int16(shot(0)), sr=SR)
        (root / kind / "x.wav").symlink_to(tmp_path / f"{kind}.wav")
        (root / kind / "gone.wav").symlink_to(tmp_path / "gone.wav")
        (root / kind / "x.txt").write_text("a shot")
        audio.write_pcm(root / kind / "y.wav", audio.to_int16(shot(1)), sr=SR)
        (root / kind / "y.wav").rename(root / kind / latin)
    listed, bad = recordings.sources([root])
    names = ["env/caf\\udce9.wav", "env/x.wav", "gun/caf\\udce9.wav", "gun/x.wav"]
    assert sorted(row["path"] for row in listed) == names
    assert sorted((row["file"], row["value"].split()[0]) for row in bad) == [
        ("env/gone.wav", "broken"), ("env/x.txt", "no"), ("gun/gone.wav", "broken"), ("gun/x.txt", "no")
    ]  # fmt: skip
    monkeypatch.setattr(recordings, "load_once", lambda path: Rise(71))
    monkeypatch.setattr(processes, "in_order", lambda work, items, *more, **_: (work(item, *more) for item in items))
    scores = recordings.score_files(listed, {"rise": tmp_path}, P, title="")
    tables.write(tmp_path / "files.csv", scores.files.sort_values("path"))
    assert pd.read_csv(tmp_path / "files.csv")["path"].tolist() == names


def test_where_a_class_has_no_file_those_left_out_are_named(tmp_path):
    (tmp_path / "gun").mkdir()
    (tmp_path / "gun/gone.wav").symlink_to("nowhere.wav")
    with pytest.raises(ValueError, match=r"(?s)no file of the class gun; .*gun/gone\.wav: broken link: must be a file"):
        recordings.evaluate(tmp_path, {}, P)
