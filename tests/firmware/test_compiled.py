"""The generated C: the same bytes as TFLM's interpreter, over networks of many kinds; wrong kernels are seen."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gunshot.base import params
from gunshot.export import network as network_c
from gunshot.export.network import host
from gunshot.export.network.layout import plan
from gunshot.models import int8
from gunshot.models.network import quantize
from tests import networks
from tests.networks import CONTEXT, FAMILY, N_FRAMES, N_MELS, conv, cooked, extremes, keras, layers, pool

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware" / "src"
ENOUGH = 100  # different output codes, for a network to prove anything
FORMS = [(4, 1.1, False), (2, 0.5, False), (3, 0.25, True), (4, 1.0, True)]  # depth, width, separable
PADDED = {
    "padded": lambda: [
        conv(6, 3, 2, padding="same", activation="relu6"),
        layers.DepthwiseConv2D((4, 3), padding="same", depth_multiplier=2),
        conv(7, (2, 5), (3, 1), padding="same"),
        layers.Flatten(),
    ],
    "padded pools": lambda: [
        conv(5, 3, padding="same"),
        layers.AveragePooling2D((3, 4), (2, 3), padding="same"),
        pool((4, 3), (3, 2), padding="same"),
        layers.Flatten(),
    ],
    "logistic inside": lambda: [conv(6, 3, 2, activation="sigmoid"), conv(5, 4, 3), layers.Flatten()],
}
KINDS = FAMILY | PADDED
ALL_KERNELS = ("separable", "mean", "average pool", "largest", "padded", "padded pools", "logistic inside")


def stride(model: bytes) -> int:
    """Frames that all layers of a model stride over together: a hop that suits it."""
    return int(np.prod([layer.strides[1] for _, layer, _ in int8.graph.line(int8.graph.Graph(model))]))


def compared(model: bytes, codes: np.ndarray, hop: int | None = None) -> tuple[int, int]:
    """How many bytes differ from TFLM's, and how many different ones TFLM gives."""
    figures = network_c.check(model, codes, hop=hop or stride(model), firmware=FIRMWARE)
    assert figures["windows"] == len(codes)
    return figures["mismatched_bytes"], figures["distinct_bytes"]


@cache
def of_params(depth: int, width: float, separable: bool) -> bytes:
    """The project's own network, its weights drawn."""
    p = params.load("network", path=ROOT / "params.yaml").network
    p = p.model_copy(update={"depth": depth, "width": width, "separable": separable})
    fixed = quantize.fixed(networks.unsettled(p), n_frames=CONTEXT)
    return quantize.convert(fixed, networks.log_mels(64, 5, CONTEXT)[0])


@cache
def of_context(n_frames: int) -> bytes:
    return networks.with_context(n_frames)


@cache
def of_kind(name: str) -> bytes:
    return cooked(*KINDS[name](), layers.Dense(2))


def shape(model: bytes) -> tuple[int, int]:
    """Bands and frames of a model's window."""
    _, n_mels, n_frames, _ = map(int, quantize.Tflm(model).input["shape"])
    return n_mels, n_frames


def inputs(model: bytes, n: int) -> np.ndarray:
    """At least `n` windows of codes for a model."""
    return extremes(shape(model), n=-(-n // 6))


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("form", FORMS)
def test_the_networks_of_params(form):
    model = of_params(*form)
    wrong, distinct = compared(model, inputs(model, 400))
    assert wrong == 0 and distinct >= ENOUGH


@pytest.mark.slow
@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", KINDS)
def test_family(name):
    model = of_kind(name)
    wrong, distinct = compared(model, inputs(model, 400))
    assert wrong == 0 and distinct >= ENOUGH


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize(("hop", "n_frames"), [(8, 71), (4, 73), (40, 71), (400, 55)])
def test_a_stream_s_windows_share_vectors(hop, n_frames):
    model = of_context(n_frames)
    layout = plan(model, hop=hop)
    positions = 1 + (n_frames - 23) // 4
    assert (layout.positions, layout.stride, layout.vector) == (positions, 4, 7)
    assert layout.new == min(positions, hop // 4) and layout.frames == 23 + 4 * (layout.new - 1)
    wrong, distinct = compared(model, inputs(model, 300), hop=hop)
    assert wrong == 0 and distinct >= ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize("hop", [0, 1, 6, -4])
def test_a_hop_between_positions_is_refused(hop):
    with pytest.raises(ValueError, match=f"hop={hop} must be a multiple of the network's stride in time, 4"):
        network_c.sources(of_context(71), hop=hop)


def test_windows_of_a_stream_are_joined_evenly():
    codes = np.arange(6 * 2 * 5, dtype=np.int8).reshape(6, 2, 5)
    windows = host.stream(codes, count=4, hop=3)
    joined = np.concatenate([codes[0], codes[2], codes[5]], axis=1)  # 14 frames
    assert [window.tolist() for window in windows] == [joined[:, i : i + 5].tolist() for i in (0, 3, 6, 9)]


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_streams_of_networks_that_are_drawn(n, drawn):
    counts = []
    for recipe in networks.drawn(n, seed=drawn.getrandbits(32), kind=networks.contexts):
        model = networks.recipe(recipe)
        layout = plan(model, hop=recipe["hop"])
        wrong, distinct = compared(model, inputs(model, 300), hop=recipe["hop"])
        assert layout.positions > 1 and wrong == 0, recipe
        counts.append(distinct)
    assert max(counts) >= ENOUGH


def over_recipes(examples: int, n: int, seed: int) -> list[int]:
    """Compare on networks that are drawn; return how many different codes each gave."""
    counts = []
    for recipe in networks.drawn(examples, seed=seed):
        model = networks.recipe(recipe)
        wrong, distinct = compared(model, inputs(model, n))
        assert wrong == 0, recipe
        counts.append(distinct)
    return counts


@pytest.mark.slow
def test_networks_that_are_drawn(drawn):
    """Some end in a code or two; they are compared too, but no proof."""
    assert max(over_recipes(6, 600, drawn.getrandbits(32))) >= ENOUGH


@pytest.mark.long
@pytest.mark.sweep(3)
@pytest.mark.parametrize("network", [*FORMS, *KINDS])
def test_ten_thousand_inputs(network):
    model = of_kind(network) if network in KINDS else of_params(*network)
    codes = inputs(model, 10_000)
    wrong, distinct = compared(model, codes)
    assert len(codes) >= 10_000 and wrong == 0 and distinct >= ENOUGH


@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
def test_ten_thousand_inputs_of_networks_that_are_drawn():
    counts = over_recipes(60, 10_000, seed=0)
    assert sum(distinct >= ENOUGH for distinct in counts) >= 40


DEGENERATE = {
    "one filter": lambda: networks.converted(conv(1, 3, 2), conv(1, 1), layers.Flatten(), layers.Dense(2)),
    "one code": lambda: networks.converted(
        conv(2, 1), layers.Flatten(), layers.Dense(2), shape=(1, 1), representative=np.ones((9, 1, 1), np.float32)
    ),
    "zeros": lambda: networks.converted(conv(9, 3, 2), layers.Flatten(), layers.Dense(2), weights=0.0),
    "all alike": lambda: networks.converted(conv(9, 3, 2), layers.Flatten(), layers.Dense(2), weights=-0.5),
    "dead": lambda: networks.converted(
        conv(5, 3, 2, activation="relu"), layers.Flatten(), layers.Dense(2), weights=-1.0
    ),
    "saturated": lambda: networks.converted(
        conv(6, 3, 2), conv(6, 3, 2, activation="relu6"), layers.Flatten(), layers.Dense(2), spread=30,
        representative=networks.log_mels(64, 5)[0] / 3000,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize(("name", "n"), [(name, n) for n in (600, 10_000) for name in DEGENERATE])
def test_degenerate(name, n):
    """No proof by themselves: some give few different codes."""
    model = DEGENERATE[name]()
    assert compared(model, inputs(model, n))[0] == 0


@pytest.fixture(scope="module")
def several():
    """Networks that between them use all of the kernels, codes for each, and what TFLM makes of them.

    The first is small, its codes many.
    """
    small = cooked(conv(4, 2), layers.Flatten(), layers.Dense(2), shape=(4, 4))
    context = of_context(71)
    alone = [
        (small, inputs(small, 9000)),
        *((model, inputs(model, 120)) for model in (context, *map(of_kind, ALL_KERNELS))),
    ]
    parts = [(model, codes, False) for model, codes in alone]
    parts.append((context, host.stream(inputs(context, 120), count=120, hop=stride(context)), True))
    return [(model, codes, stream, quantize.Tflm(model).outputs(codes)) for model, codes, stream in parts]


def differs(model: bytes, codes: np.ndarray, stream: bool, expected: np.ndarray, firmware: Path, folder: Path) -> bool:
    """Whether the C on these kernels gives other outputs or logits."""
    layout, hop = plan(model, hop=stride(model)), stride(model)
    outputs, logits = host.run(host.build(model, folder, hop=hop, firmware=firmware), layout, codes, stream=stream)
    logit = expected[:, 0].astype(int) - layout.header["output_zero_point"]
    return bool((outputs != expected).any() or (logits != logit).any())


MUTATIONS = {
    "truncates": ("kernels.c", "+ (1 << 30)) >> 31", ") >> 31"),
    "rounds once": ("kernels.c", "& mask) > half)", "& mask) > half + mask)"),
    "rounds up": ("kernels.c", "(mask >> 1) + (high < 0)", "(mask >> 1)"),
    "leaves the zero point": ("kernels.c", "to->zero_point + multiply(", "multiply("),
    "pads with 0": ("kernels.c", "memset(patch, outside", "memset(patch, 0 * outside"),
    "exchanges height and width": ("kernels.c", "(h * map->width + w)", "(w * map->width + h)"),
    "orders filters anew": ("kernels.c", "rescaled(sums[k],", "rescaled(sums[3 - k],"),
    "takes a weight twice": ("dot.h", "block(weights + 3 * n)", "block(weights + 2 * n)"),
    "saturates early": ("kernels.c", "clamp(code, -128, 127)", "clamp(code, -127, 127)"),
    "looks up beside": ("kernels.c", "table[code + 128]", "table[code + 127 + (code == -128)]"),
    "takes another channel": ("kernels.c", "f / each] * weights", "f % channels] * weights"),
    "averages over pads": ("kernels.c", "inside(window, h, w);\n      for", "inside(window, 1, 1);\n      for"),
    "averages down": ("kernels.c", "sum + count / 2", "sum"),
    "knows no negative maximum": ("kernels.c", "int32_t top = -128", "int32_t top = 0"),
    "scores the other output": ("model_compiled.c", "outputs[0]", "outputs[1]"),
    "keeps no vectors": ("model_compiled.c", "memmove(vectors, vectors + NEW", "memmove(vectors, vectors"),
    "does not look back": ("model_compiled.c", "if (!begun) look_back(codes)", "if (begun) look_back(codes)"),
    "takes all frames for alike": ("model_compiled.c", "GUNSHOT_N_MELS) == 0)", "0) == 0)"),
    "looks at the frames of another hop": ("model_compiled.c", "position * GUNSHOT_NETWORK_STRIDE", "position * 2"),
    "resets nothing": ("model_compiled.c", "reset(void) { begun = false; }", "reset(void) {}"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.sweep(8)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_kernel_is_seen(several, tmp_path, name):
    file, right, wrong = MUTATIONS[name]
    shutil.copytree(FIRMWARE, tmp_path / "src")
    text = (tmp_path / "src" / file).read_text()
    assert text.count(right) == 1
    (tmp_path / "src" / file).write_text(text.replace(right, wrong))
    folders = [tmp_path / str(i) for i in range(len(several))]  # a library is loaded once from a path
    for folder in folders:
        folder.mkdir()
    assert any(differs(*each, tmp_path / "src", folder) for each, folder in zip(several, folders, strict=True))


@pytest.mark.slow
def test_right_kernels_pass_where_wrong_ones_are_seen(several, tmp_path):
    for i, each in enumerate(several):
        (tmp_path / str(i)).mkdir()
        assert not differs(*each, FIRMWARE, tmp_path / str(i))
    assert {line.split("(")[0].strip() for model, *_ in several for line in calls(model)} == set(kernels())


def calls(model: bytes) -> list[str]:
    text = network_c.sources(model, hop=stride(model))["network.c"]
    return [line for line in text.splitlines() if line.startswith("  gunshot_")]


def kernels() -> list[str]:
    text = (FIRMWARE / "kernels.h").read_text()
    return [line.split("(")[0].removeprefix("void ") for line in text.splitlines() if line.startswith("void ")]


@pytest.mark.slow
def test_the_same_model_gives_the_same_text():
    model = of_kind("padded")
    first, second = network_c.sources(model, hop=8), network_c.sources(model, hop=8)
    assert first == second and set(first) == {"network.h", "network.c"}
    assert all("Never edit" in text and max(map(len, text.splitlines())) <= 120 for text in first.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([conv(4, 3, activation="tanh"), layers.Flatten()], "operator TANH"),
        ([layers.ZeroPadding2D(1), layers.Flatten()], "operator PAD"),
        ([layers.ReLU(), layers.Flatten()], "RELU must not be the first"),
        ([conv(4, 3), layers.Reshape((15, 62, 4)), conv(2, 3), layers.Flatten()], "operator RESHAPE"),
        ([layers.Conv2D(4, 3, dilation_rate=2), layers.Flatten()], r"SPACE_TO_BATCH_ND|dilation"),
        ([layers.Flatten(), layers.Dense(2), layers.Softmax()], "operator SOFTMAX"),
    ],
)
def test_what_is_not_covered_is_named(parts, words):
    with pytest.raises(ValueError, match=words):
        network_c.sources(networks.converted(*parts, layers.Dense(2)), hop=8)


@pytest.mark.slow
def test_branches_and_maps_are_refused():
    x = layers.Input(batch_shape=(1, N_MELS, N_FRAMES, 1))
    y = layers.Flatten()(conv(1, 3)(x))
    model = keras.Model(x, layers.Add()([layers.Dense(2)(y), layers.Dense(2)(y)]))
    with pytest.raises(ValueError, match=r"FULLY_CONNECTED must take the output|operator ADD"):
        network_c.sources(quantize.convert(model, networks.log_mels(16, 5)[0]), hop=8)
    with pytest.raises(ValueError, match=r"must be a \.tflite file"):
        network_c.sources(b"no model at all", hop=8)
    with pytest.raises(ValueError, match="must be one position"):
        network_c.sources(networks.converted(conv(2, 3)), hop=8)


@pytest.mark.slow
def test_numbers_beyond_32_bits_are_refused():
    model = of_kind("relu")
    graph = int8.graph.Graph(model)
    last = graph.operators[-1]
    bias = graph.tensor(last.inputs[2], "INT32").data.tobytes()
    scale = graph.tensor(last.outputs[0]).scale.tobytes()
    for old, new, words in (
        (bias, np.full(2, 2**31 - 9, np.int32).tobytes(), r"FULLY_CONNECTED: sums up to \d+ must be less than 2\^31"),
        (scale, np.float32(1e-14).tobytes(), r"FULLY_CONNECTED: a factor of 2\^\d+ must be at most 2\^30"),
    ):
        assert model.count(old) == 1
        with pytest.raises(ValueError, match=words):
            network_c.sources(model.replace(old, new), hop=8)


@pytest.mark.slow
def test_codes_of_another_shape_or_type_are_refused():
    model = of_kind("mean")
    for codes in (np.zeros((3, N_FRAMES, N_MELS), np.int8), np.zeros((3, N_MELS, N_FRAMES), np.uint8)):
        with pytest.raises(ValueError, match=r"codes .*must be int8"):
            network_c.check(model, codes, hop=8, firmware=FIRMWARE)


SANITIZED = """
#include <stdio.h>
#include <stdlib.h>

#include "constants.h"
#include "model.h"
#include "network.h"

/* All from the heap, and no byte more than asked for: what is read or written beside is seen. */
int main(void) {
  const size_t size = GUNSHOT_N_FRAMES * GUNSHOT_N_MELS;
  uint8_t *arena = aligned_alloc(16, GUNSHOT_NETWORK_ARENA_BYTES);
  int8_t *codes = malloc(size);
  gunshot_network *weights = malloc(sizeof *weights);
  *weights = gunshot_network_weights;
  gunshot_status status =
      gunshot_model_init((gunshot_artifact){(uint8_t *)weights, sizeof *weights}, arena, GUNSHOT_NETWORK_ARENA_BYTES);
  while (!status && fread(codes, 1, size, stdin) == size) {
    int16_t logit;
    if (!STREAM) gunshot_model_reset();
    status = gunshot_model_score(codes, &logit);
    fwrite(&logit, sizeof logit, 1, stdout);
  }
  free(weights), free(codes), free(arena);
  return (int)status;
}
"""


@pytest.mark.slow
def test_sanitizers_find_nothing(several, tmp_path):
    for model, codes, stream, outputs in several:
        (tmp_path / "main.c").write_text(SANITIZED)
        checks = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        flags = (*[flag for flag in host.FLAGS if flag != "-shared"], *checks, f"-DSTREAM={int(stream)}", "main.c")
        program = host.build(model, tmp_path, hop=stride(model), firmware=FIRMWARE, flags=flags)
        frames = np.ascontiguousarray(codes.transpose(0, 2, 1)).tobytes()
        done = subprocess.run([program], input=frames, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        expected = outputs[:, 0].astype(int)
        zero_point = quantize.Tflm(model).quantization()["output_zero_point"]
        np.testing.assert_array_equal(np.frombuffer(done.stdout, "<i2"), expected - zero_point)
