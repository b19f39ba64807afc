"""The tflm backend on TFLM's real interpreter: the one in the tflite-micro wheel, whose symbols a library can use.

There is no TFLM tree here: headers in tests/firmware/tflm stand in for TFLM's, so that its own are not compiled.
"""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from gunshot.base import params
from gunshot.device import parity
from gunshot.export import constants as export
from gunshot.models.model import load_model
from gunshot.models.network import network, quantize
from tests.firmware.backends import (
    CALIBRATION,
    N_FRAMES,
    N_MELS,
    OPERATING,
    ROOT,
    SRC,
    Backend,
    P,
    linked,
    refuses,
)

STANDS_IN = ROOT / "tests" / "firmware" / "tflm"
MAPPED = [
    "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "LEAKY_RELU", "LOGISTIC", "MAX_POOL_2D",
    "MEAN", "REDUCE_MAX", "RELU", "RESHAPE",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def interpreter():
    """The symbols of the wheel, for libraries that are loaded later."""
    from tflite_micro import runtime

    return ctypes.CDLL(runtime._runtime.__file__, mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(scope="module")
def quantized():
    """A network of random weights, as int8, and what the stage quantize reports of it."""
    section = params.load("network", path=ROOT / "params.yaml").network
    net = network.build(section.model_copy(update={"width": 0.5}), n_mels=N_MELS, n_frames=N_FRAMES)
    rng = np.random.default_rng(1)
    net.set_weights(
        [w if w.ndim < 2 else rng.normal(0, np.sqrt(2 / w[..., 0].size), w.shape) for w in net.get_weights()]
    )
    x = rng.normal(-60, 15, (64, N_MELS, N_FRAMES)).astype(np.float32)
    model = quantize.convert(quantize.fixed(net, n_frames=N_FRAMES), x)
    tflm = quantize.Tflm(model)
    report = {
        "arena_bytes": tflm.arena_bytes(),
        "operators": quantize.operators(model),
        "quantization": tflm.quantization(),
        "calibration": CALIBRATION,
    }
    return SimpleNamespace(model=model, report=report, tflm=tflm)


@pytest.fixture(scope="module")
def build(quantized, tmp_path_factory):
    def built(*flags: str, model: bytes | None = None, operators: list[str] | None = None, **constants) -> Backend:
        model = quantized.model if model is None else model
        report = quantized.report | {"operators": operators or quantized.report["operators"]}
        folder = tmp_path_factory.mktemp("tflm")
        values = export.constants(model, report, OPERATING, P) | constants
        export.write(model, report, folder / "generated", constants=values, network={})
        sources = [SRC / "model_tflm.cc", SRC / "crc32.c", SRC / "site.c", folder / "generated" / "model.c"]
        include = ["-I", str(folder), "-I", str(folder / "generated"), "-I", str(STANDS_IN)]
        return Backend(linked(folder, sources, *include, *flags))

    return built


@pytest.fixture(scope="module")
def backend(build):
    return build()


def codes(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(rng.uniform(-128, 127, (n, 1, 1)), rng.uniform(1, 90, (n, 1, 1)), (n, N_MELS, N_FRAMES))
    return np.clip(np.rint(drawn), -128, 127).astype(np.int8)


def test_logits_are_those_of_the_interpreter(backend, quantized):
    assert backend.init() == "OK"
    windows = codes(1000, 2)
    expected = quantized.tflm.outputs(windows)[:, 0].astype(int) - quantized.report["quantization"]["output_zero_point"]
    assert len(set(expected.tolist())) > 40
    assert backend.logits(windows) == expected.tolist()


def test_init_may_be_repeated_and_a_failed_one_leaves_nothing(build):
    fresh = build()
    window = codes(1, 3)[0]
    assert fresh.score(window) == "NOT_READY"
    assert fresh.init() == "OK"
    first = fresh.score(window)
    assert fresh.init(arena=fresh.arena_bytes + 4096) == "OK" and fresh.score(window) == first
    assert fresh.init(b"") == "TRUNCATED" and fresh.score(window) == "NOT_READY"


@given(st.data())
def test_any_changed_byte_is_found(backend, data):
    changed = bytearray(backend.artifact)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    assert backend.init(bytes(changed)) == "CRC"


def test_an_artifact_of_another_size_is_found(backend):
    for size in (0, 1, 8, len(backend.artifact) // 2, len(backend.artifact) - 1):
        assert backend.init(backend.artifact[:size]) == "TRUNCATED"
    assert backend.init(backend.artifact + b"\0") == "CRC"
    assert backend.init(skew=4) == "TYPE"


def test_the_arena_must_be_of_the_size_stated_and_aligned(backend, quantized):
    assert backend.arena_bytes == quantized.report["arena_bytes"] == quantized.tflm.arena_bytes()
    assert backend.init(arena=backend.arena_bytes - 1) == "ARENA"
    assert backend.init(arena_skew=8) == "ARENA"


def test_the_interpreter_itself_refuses_an_arena_that_a_build_states_too_small(build, quantized):
    """What TFLM says it uses holds some 200 bytes with which it counts, so that a little less would do."""
    enough = quantized.report["arena_bytes"]
    less = build(f"-DGUNSHOT_ARENA_BYTES={enough - 512}")
    assert less.init() == "ARENA" and less.score(codes(1, 4)[0]) == "NOT_READY"
    assert less.init(arena=enough) == "OK"


def test_another_schema_version_is_refused(build, quantized):
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(quantized.model, 0)
    for version in (3, 4):
        model.version = version
        builder = flatbuffers.Builder(0)
        builder.Finish(model.Pack(builder), b"TFL3")
        assert build(model=bytes(builder.Output())).init() == {3: "OK", 4: "VERSION"}[version]


@pytest.mark.parametrize("name", ["LEAKY_RELU", "MAX_POOL_2D"])
def test_an_operator_that_is_not_registered_is_refused(build, quantized, name):
    others = [known for known in quantized.report["operators"] if known != name]
    assert build(operators=others).init() == "OPERATOR"


@pytest.mark.parametrize(
    ("name", "status"),
    [("N_FRAMES", "SHAPE"), ("N_MELS", "SHAPE"), ("INPUT_SCALE", "TYPE"), ("INPUT_ZERO_POINT", "TYPE"),
     ("OUTPUT_SCALE", "TYPE"), ("OUTPUT_ZERO_POINT", "TYPE")],
)  # fmt: skip
def test_what_the_features_are_not_made_for_is_refused(build, quantized, name, status):
    value = export.constants(quantized.model, quantized.report, OPERATING, P)[name]
    other = value + 1 if isinstance(value, int) else float(np.nextafter(np.float32(value), np.float32(9)))
    assert build(**{name: other}).init() == status


def test_every_operator_of_the_networks_has_a_method(build, quantized):
    text = (SRC / "model_tflm.cc").read_text()
    assert re.findall(r"#define ADD_(\w+) Add", text) == MAPPED and set(quantized.report["operators"]) < set(MAPPED)
    backend = build(operators=MAPPED, OPERATOR_COUNT=len(MAPPED))
    assert backend.init() == "OK"


def test_an_operator_without_a_method_is_an_error_that_names_it(build):
    with pytest.raises(AssertionError, match="ADD_SOFTMAX"):
        build(operators=["CONV_2D", "SOFTMAX"])


def test_nothing_is_on_the_heap_or_made_before_main(build, tmp_path_factory):
    build()
    compiled = [path / "model_tflm.o" for path in sorted(tmp_path_factory.getbasetemp().glob("tflm*"))][-1]
    symbols = subprocess.run(["nm", "-C", compiled], capture_output=True, text=True, check=True).stdout
    assert "gunshot_model_init" in symbols
    assert not re.search(r"\b(U operator new|U malloc|U __cxa_|_GLOBAL__sub)", symbols)


def test_it_has_no_vectors_and_so_refuses_a_site_s_verifier(backend):
    refuses(backend)


def by_cmake(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = ["cmake", "--preset", "host", "-B", folder, "-DGUNSHOT_BACKEND=tflm", *options]
    return subprocess.run(command, cwd=SRC.parent, capture_output=True, text=True)


@pytest.mark.firmware
def test_the_whole_application_on_the_interpreter_equals_python(tmp_path):
    """As CMake builds it for this machine. What the wheel asks of Python stands in, uncalled."""
    from tflite_micro import runtime

    (tmp_path / "libtflm.so").symlink_to(runtime._runtime.__file__)
    asked = subprocess.run(
        ["nm", "-D", "--undefined-only", tmp_path / "libtflm.so"], capture_output=True, text=True, check=True
    ).stdout
    names = set(re.findall(r" (_?Py\w+)", asked))
    (tmp_path / "python.c").write_text("".join(f"char {name}[64];\n" for name in sorted(names)))
    subprocess.run(["gcc", "-shared", "-fPIC", "python.c", "-o", "libpython.so"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, SRC.parent / "third_party" / "fetch.py"], check=True)
    libraries = ";".join(str(tmp_path / name) for name in ("libtflm.so", "libpython.so"))
    done = by_cmake(tmp_path / "build", f"-DTFLM_ROOT={STANDS_IN}", f"-DTFLM_LIBRARY={libraries}")
    assert done.returncode == 0, done.stderr
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True)
    p = params.load("audio", "chunks", "context", "features", "detector", path=ROOT / "params.yaml")
    model, pcm = load_model(ROOT / "models/quantized/model.tflite"), parity.recording(sr=p.audio.sr)
    figures = parity.measure("host", tmp_path / "build", pcm, model, p)["parity"]
    assert figures["windows"] > 1000 and figures["mismatched_bytes"] == 0
    assert figures["onsets"] >= 3 and figures["differing_onsets"] == 0


@pytest.mark.firmware
def test_a_build_without_a_tree_says_what_it_wants(tmp_path):
    done = by_cmake(tmp_path, f"-DTFLM_ROOT={tmp_path}")
    assert done.returncode != 0
    assert f"TFLM_ROOT='{tmp_path}' must name a TFLM tree" in " ".join(done.stderr.split())
