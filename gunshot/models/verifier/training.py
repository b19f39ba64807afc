"""Training of the verifier: a larger head on the detector's trunk, by the network's own training, and int8 of both."""

import numpy as np

from gunshot.base import params
from gunshot.models.int8 import Int8
from gunshot.models.network import network, quantize, training
from gunshot.models.scores import metrics
from gunshot.models.verifier import head

STILL = {"mix_share": 0.0, "patch_share": 0.0, "band_spread_db": 0.0, "hard_share": 0.0}  # vectors are no log-mels


def as_network(p: params.Network, own: params.Verifier) -> params.Network:
    """Return the section by which the head is trained: the network's, but for what the verifier's own names too."""
    return p.model_copy(update={name: getattr(own, name) for name in params.Network.model_fields if hasattr(own, name)})


def varied(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, p: params.Network) -> np.ndarray:
    """Return log-mels [shape=(n, n_mels, frames)] as training changes them: with backgrounds, band gains, patches."""
    env = np.flatnonzero(y == 0)
    under = x[rng.choice(env, len(x))]
    return training.patches(training.band_gains(training.mixed(x, under, rng, p), rng, p.band_spread_db), rng, p)


def train(
    net,
    examples: tuple,
    val: tuple,
    rng: np.random.Generator,
    p: params.Network,
    *,
    variants: int,
    label: np.ndarray,
    chance: np.ndarray,
):
    """Return the verifier, the network's trunk with a head that was trained on it, and the history by epoch.

    The trunk stays as it is: so its vectors of each example are computed once, as it is and in changed `variants`.

    Parameters
    ----------
    net : the network, of Keras
    examples, val : x [shape=(n, n_mels, frames)] in dB, float32, and y [shape=(n,)], 1 for GUN
    p : what `as_network` gives
    label, chance : as for `gunshot.models.network.training.train`
    """
    (x, y), (x_val, y_val) = examples, val
    parts = [head.vectors(net, x), *(head.vectors(net, varied(x, y, rng, p)) for _ in range(variants))]
    y, label, chance = (np.tile(each, len(parts)) for each in (y, label, chance / len(parts)))
    vectors, options = (np.concatenate(parts), y, head.vectors(net, x_val), y_val), {"label": label, "chance": chance}
    trained, history = training.train(*vectors, rng, p.model_copy(update=STILL), build=head.build, **options)
    return head.joined(net, trained), history


def converted(verifier, representative: np.ndarray) -> bytes:
    """Return the verifier for one window as .tflite in int8; `representative` log-mels set the ranges."""
    return quantize.convert(quantize.fixed(verifier, n_frames=representative.shape[2]), representative)


def stated(artifact: bytes, verifier, val: tuple, *, min_recall: float) -> dict:
    """Return the report of an artifact: its size, its calibration on validation examples, and its AUC beside float's.

    Parameters
    ----------
    val : x and y of the validation side
    """
    int8, (x, y) = Int8(artifact), val
    logit = (int8.outputs(int8.codes(x))[:, 0].astype(np.float32) - int8.output_zero_point) * int8.output_scale
    return {
        **metrics.stated(y, logit, min_recall=min_recall),
        "float_auc": metrics.auc(y, network.logit(verifier, x)[:, 0]),
        "bytes": len(artifact),
        "parameters": verifier.count_params(),
        "examples": {"shots": int(y.sum()), "environment": int(len(y) - y.sum())},
    }
