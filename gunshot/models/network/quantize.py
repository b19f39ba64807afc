"""The network as an int8 TFLM artifact, and the TFLM interpreter as the oracle that scores it."""

import contextlib
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable

import numpy as np

BATCH = 512  # log-mels that are scored at once: memory stays bounded


class Tflm:
    """A .tflite model in the TensorFlow Lite Micro interpreter, int8 in and out."""

    def __init__(self, model: bytes):
        from tflite_micro import runtime

        self.interpreter = runtime.Interpreter.from_bytes(model)
        self.input, self.output = (self.interpreter.get_input_details(0), self.interpreter.get_output_details(0))
        for what, details in (("input", self.input), ("output", self.output)):
            if details["dtype"] != np.int8:
                raise ValueError(f"{what} dtype={np.dtype(details['dtype'])} must be int8")

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return log-mels in dB as the model's int8 input codes, same shape: round half to even, then saturate."""
        scale, zero = _affine(self.input)
        return np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)

    def outputs(self, codes: np.ndarray) -> np.ndarray:
        """Return the int8 logits GUN and ENV [shape=(n, 2)] of int8 codes [shape=(n, n_mels, frames)]."""
        out = np.empty((len(codes), 2), np.int8)
        for i, code in enumerate(codes):
            self.interpreter.set_input(np.ascontiguousarray(code).reshape(self.input["shape"]), 0)
            self.interpreter.invoke()
            out[i] = self.interpreter.get_output(0).reshape(2)
        return out

    def logit(self, x: np.ndarray) -> np.ndarray:
        """Return logits for GUN of log-mels [shape=(n, n_mels, frames)] in dB, float32 [shape=(n,)]."""
        scale, zero = _affine(self.output)
        codes = np.concatenate([self.outputs(self.codes(x[i : i + BATCH])) for i in range(0, max(len(x), 1), BATCH)])
        return ((codes[:, 0].astype(np.float32) - zero) * scale).astype(np.float32)

    def quantization(self) -> dict[str, float | int]:
        """Return scale and zero point of the input, dB, and of the output: value = (code - zero_point) scale."""
        (in_scale, in_zero), (out_scale, out_zero) = _affine(self.input), _affine(self.output)
        return {
            "input_scale": float(in_scale),
            "input_zero_point": in_zero,
            "output_scale": float(out_scale),
            "output_zero_point": out_zero,
        }

    def arena_bytes(self) -> int:
        """Return the arena that TFLM says it uses, bytes."""
        self.outputs(np.zeros((1, *self.input["shape"][1:3]), np.int8))
        # TFLM prints to file descriptor 2 from C++; there is no other way to ask it.
        with tempfile.TemporaryFile() as caught:
            kept = os.dup(2)
            os.dup2(caught.fileno(), 2)
            try:
                self.interpreter.print_allocations()
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            caught.seek(0)
            printed = caught.read().decode()
        return int(re.search(r"Arena allocation total (\d+) bytes", printed)[1])


def _affine(details: dict) -> tuple[np.float32, int]:
    affine = details["quantization_parameters"]
    return np.float32(affine["scales"][0]), int(affine["zero_points"][0])


def operators(model: bytes) -> list[str]:
    """Return the TFLM operators that a .tflite model needs, sorted."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = schema.ModelT.InitFromPackedBuf(model, 0).operatorCodes
    return sorted({names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in codes})


def fixed(network, *, n_frames: int):
    """Return the network for one chunk: fixed input, fully connected classification layers, the same weights.

    Batch normalization and the rescaling of the input are folded into the convolutions, exactly in
    real numbers: w' = w g / s and b' = b - m g / s, with valid padding only. The input stays in dB.
    """
    import keras
    from keras import layers

    n_mels = network.input_shape[1]
    x = inputs = layers.Input(batch_shape=(1, n_mels, n_frames, 1), name="log_mel")
    weights, before = {}, (1.0, 0.0)
    for layer in network.layers:
        config = layer.get_config()
        match layer:
            case layers.InputLayer() | layers.Dropout() | layers.GaussianNoise():
                continue
            case layers.Rescaling():
                before = (layer.scale, layer.offset)
            case layers.Conv2D() if x.shape[1:-1] in ((), (1, 1)):  # the map is 1 x 1: fully connected
                x = x if len(x.shape) == 2 else layers.Flatten(name="flatten")(x)
                x = layers.Dense(layer.filters, activation=layer.activation, name=layer.name)(x)
                kernel, bias = layer.get_weights()
                weights[layer.name] = [kernel[0, 0], bias]
            case layers.Conv2D():
                x = layers.Conv2D.from_config({**config, "use_bias": True})(x)
                kernel = layer.get_weights()[0].astype(np.float64)
                weights[layer.name] = [kernel * before[0], kernel.sum(axis=(0, 1, 2)) * before[1]]
                last, before = layer.name, (1.0, 0.0)
            case layers.DepthwiseConv2D():
                x = layers.DepthwiseConv2D.from_config(config)(x)
                weights[layer.name] = layer.get_weights()
            case layers.BatchNormalization():
                gamma, beta, mean, variance = (w.astype(np.float64) for w in layer.get_weights())
                gain = gamma / np.sqrt(variance + layer.epsilon)
                kernel, bias = weights[last]
                weights[last] = [kernel * gain, (bias - mean) * gain + beta]
            case _:
                x = layer.__class__.from_config(config)(x)
    model = keras.Model(inputs, x, name="gunshot_fixed")
    for name, values in weights.items():
        model.get_layer(name).set_weights([np.asarray(v, np.float32) for v in values])
    return model


def convert(model, representative: np.ndarray) -> bytes:
    """Return a fixed model as .tflite with int8 weights, activations, input and output.

    Parameters
    ----------
    representative : np.ndarray [shape=(n, n_mels, frames)], float32 dB
        Chunks of the training split; they set the ranges.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None, ..., None]] for x in representative)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    # Per-tensor dense weights: CMSIS-NN's fully connected kernel knows no other.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")  # they come with the representative set
        return _bare(converter.convert())


def _bare(model: bytes) -> bytes:
    """Return a .tflite model without what only the converter's tools read: names, signatures, metadata, their buffers.

    Tensors that hold no values share the first buffer, which is empty.
    """
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    tree.metadata, tree.signatureDefs, tree.description, tree.subgraphs[0].name = None, None, None, None
    places = {}  # of buffers with values
    for tensor in tree.subgraphs[0].tensors:
        data, tensor.name = tree.buffers[tensor.buffer].data, None
        held = data is not None and len(data) > 0
        tensor.buffer = places.setdefault(tensor.buffer, len(places) + 1) if held else 0
    tree.buffers = [schema.BufferT(), *(tree.buffers[place] for place in places)]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def delta(a: dict, b: dict, score_a: np.ndarray, score_b: np.ndarray) -> dict[str, float]:
    """Return the differences of int8 (b) from float (a) on the same chunks, b - a, as fractions.

    `a` and `b` are what `metrics.summary` gives. Flips are counted at 0.5 and at float's
    threshold, the same for both.
    """
    point = a["threshold"]
    return {
        **{f"{key}_delta": b[key] - a[key] for key in ("accuracy", "recall", "auc")},
        "flip_rate": float(np.mean((score_a >= 0.5) != (score_b >= 0.5))),
        "flip_rate_at_threshold": float(np.mean((score_a >= point) != (score_b >= point))),
    }


def report(artifact: bytes, float_logit: Callable, val: tuple, test: tuple, *, min_recall: float) -> dict:
    """Return the report of an int8 artifact: what it needs, how it is calibrated, and how it differs from float.

    Parameters
    ----------
    float_logit : returns logits [shape=(n,)] of log-mels as the network has them that the artifact was made from
    val, test : log-mels [shape=(n, n_mels, frames)] and y [shape=(n,)] of the two sides
    min_recall : of the chunk threshold, on the validation side
    """
    from gunshot.models.scores import calibration, metrics  # scikit-learn, which who only scores need not wait for

    tflm, (x, y) = Tflm(artifact), test
    logits = {"float": float_logit, "int8": tflm.logit}
    stated = {name: metrics.stated(val[1], logit(val[0]), min_recall=min_recall) for name, logit in logits.items()}
    score = {name: calibration.calibrated(logit(x), stated[name]["calibration"]) for name, logit in logits.items()}
    summaries = {name: metrics.summary(y, score[name], threshold=stated[name]["chunk_threshold"]) for name in logits}
    return {
        "bytes": len(artifact),
        "arena_bytes": tflm.arena_bytes(),
        "operators": operators(artifact),
        **stated["int8"],
        "quantization": tflm.quantization(),
        **delta(summaries["float"], summaries["int8"], score["float"], score["int8"]),
        **summaries,
    }
