"""One interface to models: logits of a stream equal its windows one by one, and what is missing is named."""

import json
import math
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from gunshot import features
from gunshot.base import params
from gunshot.detect import detector, listener
from gunshot.models import forest
from gunshot.models import model as models
from gunshot.models.model import Model, load_model, model_cost, read_operating_point, read_report, report_path
from gunshot.models.scores import calibration

P = params.load("audio", "chunks", "context", "features", "detector", path=Path(__file__).parents[2] / "params.yaml")
N_MELS, N_FRAMES, STRIDE = 4, 9, 2
WEIGHTS = np.random.default_rng(0).integers(-8, 8, (N_MELS, N_FRAMES)).astype(np.float32) / 64  # sums are exact
REPORT = {"chunk_threshold": 0.25, "calibration": {"slope": 1.5, "intercept": -2.0}}


def logit(x: np.ndarray) -> np.ndarray:
    assert x.ndim == 3 and x.shape[1:] == (N_MELS, N_FRAMES) and len(x) <= models.BLOCK
    return np.einsum("nmt,mt->n", x, WEIGHTS)


def one_pass(x: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, N_FRAMES, axis=1)[:, ::STRIDE]
    return np.concatenate([logit(window[None]) for window in np.moveaxis(windows, 1, 0)])


WINDOW = N_MELS, N_FRAMES
SINGLE = Model(Path("m.tflite"), REPORT, logit, WINDOW)
LONG = Model(Path("m.keras"), REPORT, logit, WINDOW, one_pass, STRIDE)
CHUNK, CONTEXT = (Model(Path("m"), REPORT, logit, (32, n_frames)) for n_frames in (33, 71))


def by_hand(log_mel: np.ndarray, hop: int) -> list[int]:
    starts = range(0, log_mel.shape[1] - N_FRAMES + 1, hop)
    return [round(16 * float(logit(log_mel[None, :, t : t + N_FRAMES])[0])) for t in starts]


def log_mel(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(-100, 0, (N_MELS, frames)).astype(np.float32)


@given(st.integers(0, 80), st.integers(1, 12))
def test_logits_are_those_of_the_windows_one_by_one(frames, hop):
    logits = SINGLE.window_logits(log_mel(frames), hop=hop)
    assert logits.dtype == np.int16 and logits.tolist() == by_hand(log_mel(frames), hop)
    scores = SINGLE.sweep(log_mel(frames), hop=hop)
    expected = [1 / (1 + math.exp(2.0 - 1.5 * steps / 16)) for steps in logits.tolist()]
    assert scores.dtype == np.float32 and scores.tolist() == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 80), st.integers(1, 6).map(lambda k: k * STRIDE), st.sampled_from([1, 2, 3, 5, 4096]))
def test_one_pass_and_any_block_give_the_same(frames, hop, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "BLOCK", block)
        a, b = (model.window_logits(log_mel(frames), hop=hop) for model in (SINGLE, LONG))
    assert a.tolist() == b.tolist() == by_hand(log_mel(frames), hop)


def test_more_windows_than_a_block():
    long = log_mel(3 * models.BLOCK)
    logits = SINGLE.window_logits(long, hop=2)
    assert len(logits) > models.BLOCK and logits.tolist() == by_hand(long, 2)


def test_logits_saturate():
    huge = Model(Path("m"), REPORT, lambda x: np.where(x[:, 0, 0] > -50, 1e9, -1e9), (1, 9))
    mel = np.repeat([[-100.0, 0.0]], 9, axis=1)
    assert huge.window_logits(mel, hop=9).tolist() == [-32767, 32767]


def test_a_hop_between_the_network_s_positions_is_named():
    with pytest.raises(ValueError, match=r"detector\.hop=3 must be a multiple of the network's stride in time, 2"):
        LONG.window_logits(log_mel(50), hop=3)
    assert len(SINGLE.window_logits(log_mel(50), hop=3)) == 14


def test_other_bands_are_named():
    with pytest.raises(ValueError, match=r"^m\.tflite: n_mels=4 must be 5, as features\.n_mels of params\.yaml is"):
        SINGLE.window_logits(np.zeros((5, 50), np.float32), hop=2)


@given(st.floats(-300, 300), st.integers(1, 8), st.sampled_from([1 / 16, 0.1, 0.173]))
def test_the_logit_sum_of_a_mean_is_the_least_that_reaches_it(value, windows, step):
    model = Model(Path("m"), REPORT, logit, WINDOW, step=step)
    least = model.logit_sum(value, windows=windows)
    assert isinstance(least, int)
    assert least * step / windows >= value - 1e-6 and (least - 1) * step / windows < value + 1e-6
    assert model.logit_sum(least * step / windows, windows=windows) == least  # of a mean of logits its own sum


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 4))
def test_a_score_s_logit_has_that_score(score, windows):
    assert SINGLE.calibrated(np.float64(SINGLE.threshold(score))) == pytest.approx(score, rel=1e-6)
    least = SINGLE.logit_sum(SINGLE.threshold(score), windows=windows)
    assert SINGLE.score_of(np.array([least - 1, least]), windows=windows)[0] < score + 1e-9
    assert SINGLE.score_of(np.array(least), windows=windows) >= score - 1e-9


def test_scores_of_chunks_are_calibrated():
    x = np.random.default_rng(3).integers(-100, 0, (7, N_MELS, N_FRAMES)).astype(np.float32)
    scores = SINGLE.score(x)
    assert scores.dtype == np.float32 and scores == pytest.approx(1 / (1 + np.exp(2 - 1.5 * logit(x))), abs=1e-6)
    assert SINGLE.chunk_threshold == 0.25
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "BLOCK", 3)  # `logit` refuses more at once
        assert np.array_equal(SINGLE.score(x), scores)


def test_a_model_of_before_chunk_thresholds_runs_and_decides_no_single_chunks(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"")
    path.with_name("report.json").write_text(json.dumps({"operating_point": 0.5, "calibration": REPORT["calibration"]}))
    old = Model(path, read_report(path), logit, WINDOW)
    assert 0 < old.calibrated(np.float64(1.0)) < 1
    with pytest.raises(ValueError, match=r"report\.json: chunk_threshold=None must be a finite number; make it anew"):
        _ = old.chunk_threshold


def test_codes_round_half_to_even_and_saturate():
    codes = SINGLE.codes(np.float32([-100, -99.75, -99.25, -36, -200, 27.5, 28, 1000]))
    assert codes.dtype == np.int8 and codes.tolist() == [-128, -128, -126, 0, -128, 127, 127, 127]
    other = Model(Path("m"), REPORT, logit, WINDOW, code_db=0.4, code_zero=80)
    assert other.codes(np.float32([-80, 0])).tolist() == [-120, 80]


def sections(**changed):
    """The sections of params.yaml with values of the detector's, or whole sections, changed."""
    own = {name: value for name, value in changed.items() if not hasattr(P, name)}
    rest = {name: value for name, value in changed.items() if hasattr(P, name)}
    return type(P)(**vars(P) | {"detector": P.detector.model_copy(update=own)} | rest)


def test_settings_are_those_of_params_in_the_model_s_units():
    p = sections(windows=3, hysteresis=0.5, cooldown_s=1.0, hop=8)
    for model, place in ((CHUNK, {"n_frames": 33, "first": 2, "stop": 26}),
                         (CONTEXT, {"n_frames": 71, "first": 12, "stop": 36})):  # fmt: skip
        assert vars(listener.settings(model, p, logit=2.0)) == place | {
            "on": 96, "off": 72, "even": 0, "windows": 3, "hop": 8, "cooldown": 17,
            "min_rise": detector.min_rise(32, features.CODE_DB),
        }  # fmt: skip


def test_fire_goes_on_from_even_odds_or_from_where_an_incident_does():
    """Whichever is lower: an incident of a low threshold goes on below even odds."""
    p = sections(windows=1, hysteresis=3.0)
    for logit, even in ((8.0, 0.0), (3.0, 0.0), (1.0, -2.0)):
        settings = listener.settings(CHUNK, p, logit=logit)
        assert settings.even == CHUNK.logit_sum(even, windows=1) and settings.even <= settings.off


def test_a_shot_s_place_in_a_window_is_that_of_training():
    """Frames whose middle lies in chunks.jitter of the window's chunk, and one before; a short window has fewer."""
    low, high = (share * P.audio.chunk_length for share in P.chunks.jitter)
    for model, before in ((CHUNK, 0), (CONTEXT, P.context.before)):
        settings = listener.settings(model, P, logit=0.0)
        middle = (np.arange(model.window[1]) - before) * P.features.hop_length + P.features.n_fft / 2
        inside = np.flatnonzero((middle >= low) & (middle <= high))
        assert (settings.first, settings.stop) == (inside[0] - 1, inside[-1] + 1) == (2 + before, 26 + before)
    wide = sections(chunks=P.chunks.model_copy(update={"jitter": (0.0, 1.0)}))
    assert listener.settings(CHUNK, wide, logit=0.0).first == 0
    short = sections(context=P.context.model_copy(update={"frames": 20, "before": 0}))
    assert listener.settings(Model(Path("m"), REPORT, logit, (32, 20)), short, logit=0.0).stop == 14


def test_the_operating_point_on_streams_is_that_of_operating_json(tmp_path):
    model = Model(tmp_path / "m.tflite", REPORT, logit, WINDOW)
    with pytest.raises(FileNotFoundError, match=r"operating\.json: no such file; .*`dvc repro operate`.* a threshold"):
        model.threshold()
    (tmp_path / "operating.json").write_text('{"logit": 3.5}')
    assert model.threshold() == read_operating_point(model.path)["logit"] == 3.5


@given(st.integers(-200, 200), st.floats(-0.999, 0.0), st.sampled_from([1 / 16, 0.1, 0.0777]))
def test_a_window_reaches_the_operating_point_where_the_detector_opens_an_incident(level, below, step):
    value = (level + below) * step  # a logit at a level or just below it: the detector opens there
    report = {"chunk_threshold": 0.9, "calibration": {"slope": 0.1, "intercept": 0.5}}
    model = Model(Path("m"), report, logit, WINDOW, step=step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "read_operating_point", lambda path: {"logit": value})
        point = model.operating_point
    first, *_ = scores = model.score_of(np.array([level, level - 1, level - 2]), windows=1).astype(np.float32)
    assert model.logit_sum(value, windows=1) == level and first >= point and (scores[2:] < point).all()


@pytest.mark.parametrize("score", [0, 1, -0.5, 2, float("nan")])
def test_a_score_that_has_no_logit_is_named(score):
    with pytest.raises(ValueError, match=f"threshold={score:g} must be above 0 and below 1"):
        SINGLE.threshold(score)


def test_the_report_lies_beside_the_model(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(FileNotFoundError, match=r"model\.tflite: no such model; make it with `dvc repro`"):
        load_model(path)
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"report\.json: no such file; it states the model's calibration"):
        load_model(path)
    report_path(path).write_text(json.dumps(REPORT))
    assert read_report(path) == REPORT


SCALARS = st.sampled_from([None, True, 0, -1, 10**400, 0.25, -1e308, float("nan"), float("inf"), "", "0.5", [], [0.5]])
VALUES = SCALARS | st.fixed_dictionaries({}, optional={"slope": SCALARS, "intercept": SCALARS})
FIELDS = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}, "logit": 1.0}


@given(VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, VALUES)), st.integers(0, 40), st.binary())
def test_a_damaged_report_or_operating_point_is_named_or_whole(tmp_path_factory, content, cut, noise):
    path = tmp_path_factory.getbasetemp() / "m.tflite"
    path.write_bytes(b"")
    for name, read, whole in (
        ("report.json", lambda: read_report(path), {**FIELDS}),
        ("operating.json", lambda: read_operating_point(path), {"logit": 2}),
    ):
        other = {**whole, **content} if isinstance(content, dict) else content
        text = json.dumps(whole)
        for changed in (json.dumps(other).encode(), text[:cut].encode(), text[:cut].encode() + noise):
            path.with_name(name).write_bytes(changed)
            try:
                stated = read()
            except ValueError as e:
                assert str(e).startswith(f"{path.with_name(name)}: ") and "must" in str(e)
            else:
                model = Model(path, REPORT | stated, logit, WINDOW)
                assert model.logit_sum(model.threshold(None if "logit" in stated else 0.5), windows=1) is not None
        path.with_name(name).write_text(text)
        assert read() == whole


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("report.json", "[1, 2]", r"report\.json: calibration\.slope=None must be a finite number; make it anew"),
        ("report.json", '{"chunk_threshold": 0.5', r"report\.json: Expecting .*: must be JSON; make it anew"),
        (
            "operating.json",
            '{"logit": NaN}',
            r"operating\.json: logit=nan must be a finite number; .*`dvc repro operate`",
        ),
    ],
)
def test_what_is_amiss_with_a_model_s_files_is_told(tmp_path, name, content, message):
    for file, right in (("report.json", json.dumps(REPORT)), ("operating.json", '{"logit": 0}'), (name, content)):
        (tmp_path / file).write_text(right)
    (tmp_path / "m.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        (read_report if name == "report.json" else read_operating_point)(tmp_path / "m.tflite")


def test_a_forest_that_is_cut_off_or_another_program_s_is_named(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    path = tmp_path / "forest.joblib"
    joblib.dump({"no": "forest"}, path, compress=3)
    whole = path.read_bytes()
    for content in (b"", whole[:1], whole[: len(whole) // 2], whole):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"forest\.joblib: .*must be a whole \.joblib model as the pipeline makes it"
        ):
            load_model(path)


def test_a_keras_file_that_is_no_zip_file_is_said_to_be_none(tmp_path):
    (tmp_path / "m.keras").write_bytes(bytes(3000))
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    with pytest.raises(
        ValueError, match=r"m\.keras: 3000 bytes that are no zip file, or a part of one: must be a whole"
    ):
        load_model(tmp_path / "m.keras")


def test_a_file_of_no_known_kind_is_named(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    with pytest.raises(ValueError, match=r"m\.onnx: suffix='\.onnx' must be \.tflite, \.keras or \.joblib"):
        load_model(tmp_path / "m.onnx")


def test_a_forest_is_loaded_and_scores(tmp_path):
    x = np.random.default_rng(0).standard_normal((60, N_MELS, N_FRAMES)).astype(np.float32)
    y = (x.mean(axis=(1, 2)) > 0).astype(int)
    fitted = RandomForestClassifier(10, random_state=0).fit(forest.codes(x), y)
    fitted.window_ = WINDOW
    joblib.dump(fitted, tmp_path / "forest.joblib")
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    model = load_model(tmp_path / "forest.joblib")
    share = fitted.predict_proba(forest.codes(x))[:, 1]
    assert model.chunk_threshold == 0.25 and model.one_pass is None and model.window == WINDOW
    assert calibration.sigmoid(model.logit(x)) == pytest.approx(np.clip(share, 0.001, 0.999), abs=0.006)
    assert np.mean((model.score(x) > model.calibrated(np.float64(0))) == y) > 0.95


def test_what_a_model_takes_on_a_device_is_what_its_report_says():
    assert model_cost({"bytes": 27_000, "arena_bytes": 9_000}) == {"flash": 27_000, "arena": 9_000}
    assert model_cost({"c_bytes": 170_000}) == {"flash": 170_000, "arena": None}
    assert model_cost({"parameters": 18_000}) == {"flash": 72_000, "arena": None}
