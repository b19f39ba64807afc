"""What the verifier hears, and that it is trained as the network is: bounded, repeatable, int8 as TFLM computes it."""

import numpy as np
import pytest

from gunshot.base import params
from gunshot.models.int8 import Int8
from gunshot.models.network import network, quantize
from gunshot.models.verifier import head, training, windows
from tests import networks

P = params.load("network", "verifier", "features")
N_MELS = P.features.n_mels


def ramp(n: int) -> np.ndarray:
    return np.tile(np.arange(n, dtype=np.float32) - 60, (N_MELS, 1))


@pytest.mark.parametrize(("frame", "before", "known"), [(50, 10, (40, 80)), (5, 10, (0, 35)), (90, 10, (80, 100))])
def test_around_a_frame_lies_the_recording_and_where_it_has_none_its_quiet(frame, before, known):
    heard = windows.around(ramp(100), frame, before=before, n_frames=40)
    first, stop = known
    own = slice(first - frame + before, stop - frame + before)
    assert heard.shape == (N_MELS, 40) and heard.dtype == np.float32
    np.testing.assert_array_equal(heard[:, own], ramp(100)[:, first:stop])
    rest = np.delete(heard, np.arange(40)[own], axis=1)
    assert rest.size == 0 or np.ptp(rest) == 0
    assert rest.size == 0 or rest[0, 0] == np.quantile(ramp(100)[0, first:stop], 0.1).astype(np.float32)


@pytest.mark.parametrize("frame", [-40, 200])
def test_a_frame_far_outside_of_the_recording_is_refused(frame):
    with pytest.raises(ValueError, match=f"frame={frame} with 10 before it must lie in 100 frames"):
        windows.around(ramp(100), frame, before=10, n_frames=40)


def test_a_bed_goes_on_around_a_recording_and_its_power_adds_under_it():
    window, bed = np.full((N_MELS, 20), -50.0), np.full((N_MELS, 20), -90.0)
    known = np.arange(20) < 12
    window[:, ~known] = 0.0  # what a window has outside of its recording counts for nothing
    heard = windows.in_bed(window, known, bed, gain_db=-10.0)
    np.testing.assert_allclose(heard[:, ~known], -60.0, atol=1e-4)
    np.testing.assert_allclose(heard[:, known], 10 * np.log10(1e-5 + 1e-6), atol=1e-4)


def test_examples_are_drawn_by_the_generator_alone_and_hold_the_onset_where_it_will_be():
    p = P.verifier.model_copy(update={"bed_share": 0.5})
    log_mel = np.full((N_MELS, 200), -70.0, np.float32)
    log_mel[:, 100] = -10.0
    beds = [np.random.default_rng(2).normal(-80, 3, (N_MELS, 900))]
    drawn = [[windows.example(log_mel, 100, beds, rng, p) for _ in range(40)]
             for rng in (np.random.default_rng(seed) for seed in (1, 1, 2))]  # fmt: skip
    one, same, other = map(np.stack, drawn)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert one.shape == (40, N_MELS, p.frames) and one.dtype == np.float32
    at = one.mean(axis=1).argmax(axis=1) - p.before
    assert set(at) <= set(range(-p.jitter, p.jitter + 1)) and len(set(at)) > p.jitter
    laid = np.ptp(one[:, 0, -20:], axis=1) > 0  # a bed goes on behind the recording, quiet of its own stands still
    assert 5 < laid.sum() < 35


def test_a_stream_is_cut_as_short_as_recordings_are():
    rng = np.random.default_rng(0)
    for _ in range(20):
        part, frame = windows.cut(ramp(2000), 1000, rng)
        assert part[0, frame] == 1000 - 60 and 90 <= part.shape[1] <= 400
    part, frame = windows.cut(ramp(2000), 3, rng)
    assert (frame, part[0, 0]) == (3, -60)


def test_the_section_names_what_differs_from_the_network():
    own = training.as_network(P.network, P.verifier)
    for name in ("seed", "epochs", "chunks", "learning_rate", "time_patch"):
        assert getattr(own, name) == getattr(P.verifier, name)
    assert (own.width, own.mix_share, own.leak) == (P.network.width, P.network.mix_share, P.network.leak)


def test_what_it_hears_fits_a_message_and_no_onset_is_outside_of_it():
    assert P.verifier.frames * N_MELS <= 16_000  # bytes of int8 codes
    with pytest.raises(ValueError, match="before=335 \\+ jitter=6 must be below frames=335"):
        params.Verifier(**P.verifier.model_dump() | {"before": 335})


@pytest.fixture(scope="module")
def trained():
    """The project's network, its weights drawn, with a head on it that was trained twice alike."""
    x, y = networks.log_mels(48, 3, P.verifier.frames)
    p = training.as_network(P.network, P.verifier).model_copy(update={"epochs": 1, "chunks": 32, "batch_size": 16})
    net, options = networks.unsettled(P.network), {"variants": 1, "label": y, "chance": 1 / np.bincount(y)[y]}
    return [training.train(net, (x, y), (x[:8], y[:8]), np.random.default_rng(4), p, **options)[0] for _ in "ab"], net


@pytest.mark.slow
def test_it_is_larger_than_the_detector_hears_longer_and_trains_to_the_same_weights_again(trained):
    (one, two), net = trained
    assert 180_000 <= one.count_params() <= 500_000
    assert (network.frames_of(one), network.frames_of(net)) == (P.verifier.frames, 71)
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    for layer in head.trunk(net).layers:  # which stays as the detector has it
        assert all(map(np.array_equal, layer.get_weights(), one.get_layer(layer.name).get_weights()))


@pytest.mark.slow
def test_in_int8_it_is_tflm_s_to_the_byte_and_its_report_is_of_int8(trained):
    (verifier, _), _ = trained
    x, y = networks.log_mels(24, 5, P.verifier.frames)
    artifact = training.converted(verifier, x[:16])
    int8, tflm = Int8(artifact), quantize.Tflm(artifact)
    np.testing.assert_array_equal(int8.outputs(int8.codes(x)), tflm.outputs(tflm.codes(x)))
    report = training.stated(artifact, verifier, (x, y), min_recall=0.9)
    assert report["bytes"] == len(artifact) and report["examples"] == {"shots": 12, "environment": 12}
    assert report["parameters"] == verifier.count_params() and 0 <= report["validation_auc"] <= 1


def test_frames_of_which_some_vectors_would_not_be_heard_are_refused():
    with pytest.raises(ValueError, match=r"verifier\.frames leaves 80 vectors, .* take some frames more or less"):
        head.build(P.network, n_mels=31, n_frames=80)
