"""The int8 artifact: the same network, int8 throughout, and TFLM's own word for what it needs."""

import contextlib
import io
import re

import numpy as np
import pytest
import tensorflow as tf

from gunshot.models.network import network, quantize
from gunshot.models.scores import calibration
from tests.models.test_network import SIZES, unsettled

pytestmark = pytest.mark.slow
N_MELS, N_FRAMES = 32, 71


@pytest.fixture(scope="module")
def tflm(artifact) -> quantize.Tflm:
    return quantize.Tflm(artifact)


def one_at_a_time(model, x: np.ndarray) -> np.ndarray:
    return np.concatenate([model(chunk[None, ..., None]).numpy() for chunk in x])


def kinds(model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize(("depth", "width", "separable"), SIZES)
def test_fixed_is_the_network_on_chunks(section, depth, width, separable):
    model = unsettled(section(depth=depth, width=width, separable=separable))
    fixed = quantize.fixed(model, n_frames=N_FRAMES)
    x = np.random.default_rng(1).normal(-60, 15, (16, N_MELS, N_FRAMES)).astype(np.float32)
    expected = model.predict(x[..., None], verbose=0)[:, 0, 0]
    np.testing.assert_allclose(one_at_a_time(fixed, x), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.1


def test_a_separable_network_is_converted(section):
    """Depthwise layers keep a scale for each filter, and TFLM scores them as Keras does."""
    model = unsettled(section(separable=True))
    x = np.random.default_rng(1).normal(-60, 15, (96, N_MELS, N_FRAMES)).astype(np.float32)
    content = quantize.convert(quantize.fixed(model, n_frames=N_FRAMES), x)
    assert "DEPTHWISE_CONV_2D" in quantize.operators(content)
    actual, expected = quantize.Tflm(content).logit(x), network.logit(model, x)[:, 0]
    assert np.corrcoef(actual, expected)[0, 1] > 0.95 and np.ptp(actual) > 1


def test_fixed_is_the_trained_network(data, trained):
    actual = one_at_a_time(quantize.fixed(trained.model, n_frames=N_FRAMES), data.x_val)
    np.testing.assert_allclose(actual[:, 0], network.logit(trained.model, data.x_val)[:, 0], atol=1e-4)


def test_fixed_classifies_by_dense_layers_with_the_same_weights(trained):
    fixed = quantize.fixed(trained.model, n_frames=N_FRAMES)
    assert not {"BatchNormalization", "Rescaling", "Dropout", "GaussianNoise"} & set(kinds(fixed))
    assert kinds(fixed)[-3:] == ["Dense", "LeakyReLU", "Dense"]
    assert kinds(fixed).count("Dense") == 2
    for name in ("hidden", "gun_env"):
        (kernel, bias), (dense, dense_bias) = (m.get_layer(name).get_weights() for m in (trained.model, fixed))
        np.testing.assert_array_equal(kernel[0, 0], dense)
        np.testing.assert_array_equal(bias, dense_bias)
    assert fixed.input_shape == (1, N_MELS, N_FRAMES, 1)
    assert fixed.output_shape == (1, 2)


def test_every_tensor_is_an_integer(artifact):
    interpreter = tf.lite.Interpreter(model_content=artifact)
    interpreter.allocate_tensors()
    assert {np.dtype(t["dtype"]) for t in interpreter.get_tensor_details()} == {np.dtype(np.int8), np.dtype(np.int32)}
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert entry["dtype"] == exit_["dtype"] == np.int8
    assert entry["shape"].tolist() == [1, N_MELS, N_FRAMES, 1] and exit_["shape"].tolist() == [1, 2]


def test_dense_weights_have_one_scale(artifact):
    """CMSIS-NN's fully connected kernel knows no other; the convolutions have one for each filter."""
    interpreter = tf.lite.Interpreter(model_content=artifact)
    tensors = {t["index"]: t for t in interpreter.get_tensor_details()}
    scales = {"FULLY_CONNECTED": [], "CONV_2D": [], "DEPTHWISE_CONV_2D": []}
    for op in interpreter._get_ops_details():
        if op["op_name"] in scales:
            scales[op["op_name"]].append(len(tensors[op["inputs"][1]]["quantization_parameters"]["scales"]))
    assert scales["FULLY_CONNECTED"] == [1, 1]
    assert len(scales["CONV_2D"]) == 3 + 1 + 2 and min(scales["CONV_2D"]) > 1  # of depth 3
    assert len(scales["DEPTHWISE_CONV_2D"]) == 2 and min(scales["DEPTHWISE_CONV_2D"]) > 1


def test_operators_are_those_that_the_analyzer_lists(artifact):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        tf.lite.experimental.Analyzer.analyze(model_content=artifact)
    listed = re.findall(r"Op#\d+ (\w+)\(", printed.getvalue())
    assert len(listed) >= 10
    assert quantize.operators(artifact) == sorted(set(listed))
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(listed)


def test_tflm_scores_as_the_float_network(data, trained, tflm):
    expected = network.logit(trained.model, data.x_val)[:, 0]
    actual = tflm.logit(data.x_val)
    assert actual.dtype == np.float32 and actual.shape == (len(data.x_val),)
    scores = calibration.sigmoid(actual), calibration.sigmoid(expected)
    assert np.abs(scores[0] - scores[1]).max() < 0.1 and np.abs(scores[0] - scores[1]).mean() < 0.02
    assert np.abs(actual - expected).mean() < 4 * tflm.quantization()["output_scale"]
    assert ((actual >= 0) != (expected >= 0)).mean() < 0.05
    assert ((actual >= 0) == data.y_val).mean() > 0.9


def test_a_logit_is_its_code_s(tflm, data):
    q = tflm.quantization()
    codes = tflm.outputs(tflm.codes(data.x_val))[:, 0].astype(int)
    np.testing.assert_allclose(tflm.logit(data.x_val), (codes - q["output_zero_point"]) * q["output_scale"], rtol=1e-6)


def test_tflm_is_within_a_step_of_the_reference_kernels(artifact, data, tflm):
    """Another interpreter of the same integers: TFLM reads the file as TensorFlow means it."""
    interpreter = tf.lite.Interpreter(
        model_content=artifact, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    codes, expected = tflm.codes(data.x_val[:64]), []
    for code in codes:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], code[None, ..., None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    assert np.abs(tflm.outputs(codes).astype(int) - np.array(expected, int)).max() <= 2


def test_outputs_vary(data, tflm):
    """A network that saturates would agree with anything."""
    outputs = tflm.outputs(tflm.codes(data.x_val))
    assert outputs.dtype == np.int8 and outputs.shape == (len(data.x_val), 2)
    for column in outputs.T:
        assert len(set(column.tolist())) > 20
        assert np.isin(column, (-128, 127)).mean() < 0.5


def test_codes_round_half_to_even_and_saturate(tflm):
    q = tflm.quantization()
    scale, zero = np.float32(q["input_scale"]), q["input_zero_point"]
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 0.51, 0.0], np.float64)
    codes = tflm.codes((steps * float(scale)).astype(np.float64))
    assert codes.dtype == np.int8
    exact = steps * float(scale) / float(scale)
    np.testing.assert_array_equal(codes, np.clip(np.rint(exact) + zero, -128, 127))
    np.testing.assert_array_equal(tflm.codes(np.array([1e4, -1e4, np.inf, -np.inf])), [127, -128, 127, -128])


def test_every_code_comes_back(tflm):
    q = tflm.quantization()
    codes = np.arange(-128, 128)
    np.testing.assert_array_equal(tflm.codes((codes - q["input_zero_point"]) * np.float32(q["input_scale"])), codes)


def test_input_range_is_that_of_the_representative_set(data, tflm):
    q = tflm.quantization()
    low, high = ((code - q["input_zero_point"]) * q["input_scale"] for code in (-128, 127))
    representative = data.x[:128]
    assert low == pytest.approx(representative.min(), abs=2 * q["input_scale"])
    assert high == pytest.approx(max(0, representative.max()), abs=2 * q["input_scale"])


def test_output_range_is_that_of_the_logits(data, tflm, trained):
    q = tflm.quantization()
    low, high = ((code - q["output_zero_point"]) * q["output_scale"] for code in (-128, 127))
    logits = network.logit(trained.model, data.x[:128])
    assert q["output_scale"] > 1 / 256 and low < logits.min() * 0.9 and high > logits.max() * 0.9
    assert high - low < 3 * np.ptp(logits)


def test_arena_is_what_tflm_says_and_the_least_that_works(artifact, tflm):
    from tflite_micro import runtime

    size = tflm.arena_bytes()
    assert size > N_MELS * N_FRAMES
    assert quantize.Tflm(artifact).arena_bytes() == tflm.arena_bytes() == size

    def runs(arena: int) -> bool:
        try:
            runtime.Interpreter.from_bytes(artifact, arena_size=arena).invoke()
        except RuntimeError:
            return False
        return True

    assert runs(size + 1024)
    assert not runs(size // 2)


def test_conversion_is_the_same_twice(artifact, data, trained):
    again = quantize.convert(quantize.fixed(trained.model, n_frames=N_FRAMES), data.x[:128])
    assert again == artifact


def constants(artifact: bytes) -> list[dict]:
    """The tensors that the file holds values of."""
    interpreter = tf.lite.Interpreter(model_content=artifact)
    interpreter.allocate_tensors()
    outputs = {index for op in interpreter._get_ops_details() for index in op["outputs"]}
    given = outputs | {interpreter.get_input_details()[0]["index"]}
    return [tensor for tensor in interpreter.get_tensor_details() if tensor["index"] not in given]


def test_nothing_is_in_the_file_but_what_computes(artifact, data, trained, monkeypatch):
    """No names, signatures or metadata of the converter's; its own file, with them, gives the same bytes."""
    monkeypatch.setattr(quantize, "_bare", lambda model: model)
    whole = quantize.convert(quantize.fixed(trained.model, n_frames=N_FRAMES), data.x[:128])
    assert b"serving_default" in whole and b"MLIR" in whole
    assert not any(word in artifact for word in (b"serving_default", b"MLIR", b"min_runtime_version"))
    values = sum(t["shape"].prod() * np.dtype(t["dtype"]).itemsize for t in constants(artifact))
    assert len(artifact) < len(whole) - 1000 and len(artifact) < values + 10_000
    tflms = quantize.Tflm(artifact), quantize.Tflm(whole)
    codes = tflms[0].codes(data.x_val)
    np.testing.assert_array_equal(*(tflm.outputs(codes) for tflm in tflms))
    assert tflms[0].quantization() == tflms[1].quantization()


@pytest.mark.parametrize(("kind", "what"), [("float32", "input"), ("float32 output", "output")])
def test_model_that_is_not_int8_is_refused(data, trained, kind, what):
    converter = tf.lite.TFLiteConverter.from_keras_model(quantize.fixed(trained.model, n_frames=N_FRAMES))
    if kind == "float32 output":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None, ..., None]] for x in data.x[:16])
        converter.inference_input_type = tf.int8
    model = converter.convert()
    with pytest.raises(ValueError, match=rf"^{what} dtype=float32 must be int8"):
        quantize.Tflm(model)


def test_delta_is_int8_minus_float():
    a, b = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.2, 0.55, 0.6, 0.7])
    summaries = [
        {"accuracy": 0.9, "recall": 0.8, "auc": 0.95, "threshold": 0.75},
        {"accuracy": 0.85, "recall": 0.9, "auc": 0.94, "threshold": 0.1},
    ]
    delta = quantize.delta(*summaries, a, b)
    assert delta == pytest.approx(
        {
            "accuracy_delta": -0.05,
            "recall_delta": 0.1,
            "auc_delta": -0.01,
            "flip_rate": 0.25,
            "flip_rate_at_threshold": 0.25,
        }
    )
