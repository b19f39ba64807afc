"""The int8 artifact in NumPy: the same bytes as TFLM's, window by window and along a recording."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from tensorflow.lite.python import lite

from gunshot.models import int8
from gunshot.models.model import load_model
from gunshot.models.network import quantize
from tests.models.test_network import SIZES
from tests.networks import CONTEXT, FAMILY, N_FRAMES, N_MELS, conv, converted, extremes, log_mels, pool, unsettled

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def differing(model: bytes, codes: np.ndarray) -> tuple[int, int]:
    """How many outputs differ from TFLM's, and how many different ones TFLM gives."""
    expected, actual = quantize.Tflm(model).outputs(codes), int8.Int8(model).outputs(codes)
    assert actual.dtype == np.int8 and actual.shape == expected.shape
    return int((actual != expected).sum()), len(np.unique(expected))


def ending(trained, activation: str):
    fixed = quantize.fixed(trained.model, n_frames=CONTEXT)
    fixed.layers[-1].activation = keras.activations.get(activation)
    return fixed


@pytest.fixture(scope="module", params=["linear", "sigmoid"])
def int8_model(request, data, trained) -> bytes:
    return quantize.convert(ending(trained, request.param), data.x[:128])


@pytest.fixture(scope="module")
def logits(data, trained) -> bytes:
    return quantize.convert(ending(trained, "linear"), data.x[:128])


def test_trained_artifact_is_tflm_to_the_byte(data, int8_model):
    tflm = quantize.Tflm(int8_model)
    codes = np.concatenate([extremes((N_MELS, CONTEXT), n=300), tflm.codes(data.x), tflm.codes(data.x_val)])
    wrong, distinct = differing(int8_model, codes)
    assert len(codes) > 2000 and wrong == 0
    assert distinct >= 100


def test_codes_and_scales_are_tflms(data, int8_model):
    tflm, model = quantize.Tflm(int8_model), int8.Int8(int8_model)
    x = np.concatenate([data.x.ravel(), np.linspace(-300, 300, 100_001, dtype=np.float32), [np.inf, -np.inf]])
    for values in (x.astype(np.float32), x.astype(np.float64)):
        np.testing.assert_array_equal(model.codes(values), tflm.codes(values))
    assert model.codes(x).dtype == np.int8
    named = {name: getattr(model, name) for name in tflm.quantization()}
    assert named == tflm.quantization()
    assert isinstance(model.input_scale, np.float32) and isinstance(model.output_scale, np.float32)


@pytest.mark.parametrize(("depth", "width", "separable"), SIZES)
def test_other_sizes(section, depth, width, separable):
    p = section(depth=depth, width=width, separable=separable)
    fixed = quantize.fixed(unsettled(p), n_frames=CONTEXT)
    model = quantize.convert(fixed, log_mels(64, 5, CONTEXT)[0])
    assert differing(model, extremes((N_MELS, CONTEXT)))[0] == 0
    assert int8.Int8(model).stride == np.prod([2, 2, 1, 1][:depth])


@pytest.fixture(scope="module", params=FAMILY)
def member(request) -> bytes:
    return converted(*FAMILY[request.param](), layers.Dense(2))


def test_family(member):
    wrong, distinct = differing(member, extremes())
    assert wrong == 0
    assert distinct >= 30


@pytest.mark.parametrize("name", ["relu", "separable", "dense on a map"])
def test_dense_weights_with_a_scale_for_each_output(name, monkeypatch):
    option = "_experimental_disable_per_channel_quantization_for_dense_layers"
    never = property(lambda self: False, lambda self, value: None)
    monkeypatch.setattr(lite.TFLiteConverterBase, option, never, raising=False)
    model = converted(*FAMILY[name](), layers.Dense(2))
    graph = int8.graph.Graph(model)
    assert graph.operators[-1].name == "FULLY_CONNECTED"
    assert len(graph.tensor(graph.operators[-1].inputs[1]).scales) == 2
    assert differing(model, extremes())[0] == 0


@pytest.mark.parametrize("weights", [0.0, 1.0, -0.5])
def test_weights_all_alike(weights):
    """Zeros; and sums so large that float32 would not hold them."""
    parts = [conv(9, 3, 2), layers.LeakyReLU(negative_slope=0.1), layers.Flatten(), layers.Dense(2)]
    model = converted(*parts, weights=weights)
    assert differing(model, extremes())[0] == 0
    kinds = [layer.weights.dtype for layer in int8.Int8(model).layers]
    assert kinds == [np.float32, np.float64 if weights else np.float32]


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "leaky", "relu6"])
@pytest.mark.parametrize("reach", [0.3, 4.0, 60.0, 900.0])
def test_every_code_of_an_activation(activation, reach):
    act = layers.LeakyReLU(negative_slope=0.3) if activation == "leaky" else layers.Activation(activation)
    ends = np.linspace(-reach, reach / 3, 50, dtype=np.float32).reshape(-1, 1, 1)
    model = converted(conv(2, 1), act, layers.Flatten(), shape=(1, 1), spread=2, representative=ends)
    wrong, distinct = differing(model, np.arange(-128, 128, dtype=np.int8).reshape(-1, 1, 1))
    assert wrong == 0
    assert distinct > 3


@given(frames=st.integers(0, 400), block=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_sweep_is_window_by_window(logits, frames, block, seed):
    model = int8.Int8(logits)
    codes = np.random.default_rng(seed).integers(-128, 128, (N_MELS, frames)).astype(np.int8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "BLOCK", block)
        outputs = model.sweep(codes)
    assert outputs.dtype == np.int8 and outputs.shape == (max(0, (frames - CONTEXT) // 4 + 1), 2)
    np.testing.assert_array_equal(outputs, model.outputs(windows(codes, model)))
    np.testing.assert_array_equal(outputs[::9], quantize.Tflm(logits).outputs(windows(codes, model)[::9]))


def windows(codes: np.ndarray, model: int8.Int8) -> np.ndarray:
    starts = range(0, codes.shape[1] - model.n_frames + 1, model.stride)
    cut = [codes[:, i : i + model.n_frames] for i in starts]
    return np.array(cut, np.int8).reshape(-1, N_MELS, model.n_frames)


def test_sweep_of_the_family(member):
    model = int8.Int8(member)
    codes = np.concatenate(extremes(n=2, seed=3), axis=1)[:, :-3]
    outputs = model.sweep(codes)
    np.testing.assert_array_equal(outputs, model.outputs(windows(codes, model)))
    np.testing.assert_array_equal(outputs[::7], quantize.Tflm(member).outputs(windows(codes, model)[::7]))


def test_sweep_over_several_blocks_as_they_are(logits):
    model = int8.Int8(logits)
    codes = np.random.default_rng(4).integers(-128, 128, (N_MELS, int8.BLOCK * 4 * 3 + 100)).astype(np.int8)
    outputs = model.sweep(codes)
    assert len(outputs) > 3 * int8.BLOCK
    np.testing.assert_array_equal(outputs, model.outputs(windows(codes, model)))


@pytest.mark.parametrize("change", [lambda m, s: (m + (m >> 9), s), lambda m, s: (m, s - 1)])
def test_a_wrong_multiplier_is_seen(logits, monkeypatch, change):
    right = int8.graph.quantized
    monkeypatch.setattr(int8.graph, "quantized", lambda real: change(*right(real)))
    assert differing(logits, extremes((N_MELS, CONTEXT)))[0] > 20


@pytest.mark.parametrize(("inputs", "dtype"), [(1000, np.float32), (1500, np.float64), (100_000, np.float64)])
def test_sums_are_exact(inputs, dtype):
    """A factor of one, and a bias that leaves 3 of each sum: a sum that was rounded would leave something else."""
    rng = np.random.default_rng(inputs)
    x, weights = rng.integers(100, 128, inputs), rng.integers(100, 128, (inputs, 50))
    rescale = int8.layers.Rescale(3 - x @ weights, np.full(50, 2**30), np.ones(50, np.int64), 0)
    layer = int8.layers.Conv((1, 1), (1, 1), weights.astype(np.int8), rescale)
    assert layer.weights.dtype == dtype
    np.testing.assert_array_equal(layer(x.astype(np.int8).reshape(1, 1, 1, -1)), np.full((1, 1, 1, 50), 3))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([conv(4, 3, padding="same"), layers.Flatten()], "CONV_2D: padding=SAME"),
        ([layers.DepthwiseConv2D(3, padding="same"), layers.Flatten()], "DEPTHWISE_CONV_2D: padding=SAME"),
        ([pool(2, padding="same"), layers.Flatten()], "MAX_POOL_2D: padding=SAME"),
        ([conv(4, 3, activation="tanh"), layers.Flatten()], "operator TANH"),
        ([layers.ReLU(), layers.Flatten()], "RELU must not be the first"),
        ([conv(4, 3), layers.Reshape((15, 62, 4)), conv(2, 3), layers.Flatten()], "operator RESHAPE"),
    ],
)
def test_what_is_not_covered_is_named(parts, words):
    with pytest.raises(ValueError, match=words):
        int8.Int8(converted(*parts, layers.Dense(2)))


def test_branches_and_floats_are_refused(data):
    x = layers.Input(batch_shape=(1, N_MELS, N_FRAMES, 1))
    y = layers.Flatten()(conv(1, 3)(x))
    branches = keras.Model(x, layers.Add()([layers.Dense(2)(y), layers.Dense(2)(y)]))
    with pytest.raises(ValueError, match=r"FULLY_CONNECTED must take the output|operator ADD"):
        int8.Int8(quantize.convert(branches, data.x[:16, :, :N_FRAMES]))
    with contextlib.redirect_stdout(io.StringIO()):
        floats = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, layers.Dense(2)(y))).convert()
    with pytest.raises(ValueError, match="type=FLOAT32 must be INT8"):
        int8.Int8(floats)
    with pytest.raises(ValueError, match=r"must be a \.tflite file"):
        int8.Int8(b"no model at all")
    with pytest.raises(ValueError, match="must be one position"):
        int8.Int8(converted(conv(2, 3)))


@pytest.mark.parametrize(
    ("method", "codes"),
    [
        ("sweep", np.zeros((N_MELS, 50), np.float32)),
        ("sweep", np.zeros((N_MELS + 1, 50), np.int8)),
        ("outputs", np.zeros((N_MELS, CONTEXT), np.int8)),
        ("outputs", np.zeros((2, N_MELS, CONTEXT + 4), np.int8)),
    ],
)
def test_codes_of_another_shape_or_type_are_refused(logits, method, codes):
    with pytest.raises(ValueError, match=r"codes .*must"):
        getattr(int8.Int8(logits), method)(codes)


def test_no_window_no_output(logits):
    model = int8.Int8(logits)
    for codes in (model.outputs(np.zeros((0, N_MELS, CONTEXT), np.int8)), model.sweep(np.zeros((N_MELS, 0), np.int8))):
        assert codes.dtype == np.int8 and codes.shape == (0, 2)


START = """
import sys, time
began = time.process_time()
from gunshot.models import int8
int8.Int8(open(sys.argv[1], "rb").read())
print(time.process_time() - began, "tensorflow" in sys.modules or "keras" in sys.modules)
"""


def test_starts_quickly_without_tensorflow(logits, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(logits)
    runs = [
        subprocess.run([sys.executable, "-c", START, path], capture_output=True, text=True, check=True) for _ in "ab"
    ]
    seconds, heavy = zip(*(run.stdout.split() for run in runs), strict=True)
    assert heavy == ("False", "False")
    assert min(map(float, seconds)) < 1


@pytest.fixture(scope="module")
def beside(logits, tmp_path_factory) -> Path:
    """Where a model may lie that is to be loaded: its report is there."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "report.json").write_text('{"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}')
    return folder / "model.tflite"


def fault(path: Path) -> str:
    """Return the error of a model that cannot be loaded; one that can hears a recording."""
    try:
        heard = load_model(path).window_logits(log_mels(1, 0, CONTEXT)[0][0], hop=8)
    except ValueError as e:
        return str(e)
    assert heard.dtype == np.int16
    return ""


@given(st.data())
def test_a_model_that_is_cut_off_is_named_wherever_it_was_cut(beside, logits, data):
    beside.write_bytes(logits[: data.draw(st.integers(0, len(logits) - 1))])
    said = fault(beside)
    assert not said or (said.startswith(f"{beside}: ") and "must be a whole .tflite model" in said)
    beside.write_bytes(logits[: data.draw(st.integers(0, len(logits) * 9 // 10))])  # the tables stand at its end
    assert fault(beside)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=20))
def test_a_model_whose_bytes_were_changed_hears_or_is_named(beside, logits, changes):
    changed = bytearray(logits)
    for place, bits in changes:
        changed[place % len(changed)] ^= bits
    beside.write_bytes(changed)
    said = fault(beside)
    assert not said or (said.startswith(f"{beside}: ") and "must be" in said)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00\x00\x00\x00TFL3", b"\x1c\x00\x00\x00TFL3" + bytes(99)])
def test_what_is_no_model_is_named(beside, content):
    beside.write_bytes(content)
    assert fault(beside).startswith(f"{beside}: ")


def test_a_model_of_other_windows_is_named(beside):
    x = np.random.default_rng(0).normal(0, 1, (8, 24, 40)).astype(np.float32)
    parts = conv(4, 3), layers.Flatten(), layers.Dense(2)
    beside.write_bytes(converted(*parts, shape=x.shape[1:], representative=x))
    assert load_model(beside).window == (24, 40)
    with pytest.raises(
        ValueError, match=r"model\.tflite: n_mels=24 must be 32, as features\.n_mels of params\.yaml is"
    ):
        load_model(beside).window_logits(log_mels(1, 0)[0][0], hop=8)


DETECT = """
import sys, time
from gunshot import cli
try:
    cli.app(["detect", "x.wav", "--model", "model.tflite", "--threshold", "0.001", "--format", "json"])
finally:
    print(time.process_time(), "tensorflow" in sys.modules or "keras" in sys.modules)
"""


def test_detect_starts_and_hears_within_3_s_without_tensorflow(logits, tmp_path):
    """The second run's: the first may compile what Numba then keeps."""
    (tmp_path / "model.tflite").write_bytes(logits)
    (tmp_path / "report.json").write_text('{"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}')
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    y = 0.01 * np.random.default_rng(0).standard_normal(32_000)
    y[16_000:16_400] *= 50
    sf.write(tmp_path / "x.wav", y, 16_000)
    command = [sys.executable, "-c", DETECT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in "ab":
        run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    *_, last = run.stdout.splitlines()
    seconds, heavy = last.split()
    assert heavy == "False" and float(seconds) < 3, last
