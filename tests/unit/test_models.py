"""One interface to models: a sweep equals its windows one by one, and what is missing is named."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from gunshot import forest, models

N_MELS, N_FRAMES, STRIDE = 4, 9, 2
WEIGHTS = np.random.default_rng(0).integers(-8, 8, (N_MELS, N_FRAMES)).astype(np.float32)  # sums are exact


def score(x: np.ndarray) -> np.ndarray:
    assert x.ndim == 3 and x.shape[1:] == (N_MELS, N_FRAMES) and len(x) <= models.BLOCK
    return np.einsum("nmt,mt->n", x, WEIGHTS)


def one_pass(x: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, N_FRAMES, axis=1)[:, ::STRIDE]
    return score(np.moveaxis(windows, 1, 0))


SINGLE = models.Model(Path("m.tflite"), 0.5, score)
LONG = models.Model(Path("m.keras"), 0.5, score, one_pass, STRIDE)


def by_hand(log_mel: np.ndarray, hop: int) -> list[float]:
    starts = range(0, log_mel.shape[1] - N_FRAMES + 1, hop)
    return [float(score(log_mel[None, :, t : t + N_FRAMES])[0]) for t in starts]


def log_mel(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(-100, 0, (N_MELS, frames)).astype(np.float32)


@given(st.integers(0, 80), st.integers(1, 12))
def test_a_sweep_equals_its_windows_one_by_one(frames, hop):
    found = SINGLE.sweep(log_mel(frames), hop=hop, n_frames=N_FRAMES)
    assert found.dtype == np.float32 and found.tolist() == by_hand(log_mel(frames), hop)


@given(st.integers(0, 80), st.integers(1, 6).map(lambda k: k * STRIDE), st.sampled_from([1, 2, 3, 5, 4096]))
def test_one_pass_and_any_block_give_the_same(frames, hop, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "BLOCK", block)
        a, b = (
            model.sweep(log_mel(frames), hop=hop, n_frames=N_FRAMES)
            for model in (
                SINGLE,
                models.Model(
                    LONG.path,
                    0.5,
                    score,
                    lambda x: np.concatenate(
                        [score(x[None, :, t : t + N_FRAMES]) for t in range(0, x.shape[1] - N_FRAMES + 1, STRIDE)]
                    ),
                    STRIDE,
                ),
            )
        )
    assert a.tolist() == b.tolist() == by_hand(log_mel(frames), hop)


def test_more_windows_than_a_block():
    long = log_mel(3 * models.BLOCK)
    assert np.array_equal(LONG.sweep(long, hop=2, n_frames=N_FRAMES), SINGLE.sweep(long, hop=2, n_frames=N_FRAMES))


def test_a_hop_between_the_network_s_positions_is_named():
    with pytest.raises(ValueError, match=r"detector\.hop=3 must be a multiple of the network's stride in time, 2"):
        LONG.sweep(log_mel(50), hop=3, n_frames=N_FRAMES)
    assert len(SINGLE.sweep(log_mel(50), hop=3, n_frames=N_FRAMES)) == 14


def test_the_operating_point_is_the_report_s(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(FileNotFoundError, match=r"model\.tflite: no such model; make it with `dvc repro`"):
        models.load(path)
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"report\.json: no such file; it states the model's operating_point"):
        models.load(path)
    models.report_of(path).write_text(json.dumps({"operating_point": 0.25}))
    assert models.point(path) == 0.25


def test_a_file_of_no_known_kind_is_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "report.json").write_text('{"operating_point": 0.5}')
    with pytest.raises(ValueError, match=r"m\.onnx: suffix='\.onnx' must be \.tflite, \.keras or \.joblib"):
        models.load(tmp_path / "m.onnx")


def test_a_forest_is_loaded_and_scores(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, N_MELS, N_FRAMES)).astype(np.float32)
    y = (x.mean(axis=(1, 2)) > 0).astype(int)
    joblib.dump(RandomForestClassifier(10, random_state=0).fit(forest.codes(x), y), tmp_path / "forest.joblib")
    (tmp_path / "report.json").write_text('{"operating_point": 0.4}')
    model = models.load(tmp_path / "forest.joblib")
    found = model.score(x)
    assert model.operating_point == 0.4 and model.one_pass is None and found.shape == (60,)
    assert np.mean((found > 0.5) == y) > 0.95 and found.min() >= 0 and found.max() <= 1
