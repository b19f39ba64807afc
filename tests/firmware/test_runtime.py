"""The port for Python: the bytes of the host and of a 64-bit Arm, whatever the blocks, and the wheel's own layers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import cffi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.device import emulator, parity, runtime
from gunshot.export.network import layout

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
FIRMWARE = REPO / "firmware"
PORT = FIRMWARE / "ports/runtime"
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
NATIVE = runtime.native(FIRMWARE)
ALL = ("runtime", "runtime-v3", "runtime-aarch64")
HERE = ["runtime", *(["runtime-v3"] if NATIVE._flags() >= NATIVE.V3 else [])]  # presets that this processor runs


@pytest.fixture(scope="module")
def libraries() -> dict[str, Path]:
    return {preset: emulator.build(preset, firmware=FIRMWARE) / parity.LIBRARY for preset in ALL}


@pytest.fixture(scope="module")
def host() -> Path:
    return emulator.build("host", firmware=FIRMWARE)


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    """The stream that reports/firmware.json is measured on."""
    return parity.recording(sr=P.audio.sr)


@pytest.fixture(scope="module")
def burst(pcm) -> np.ndarray:
    """Its part with shots, and 3 s before it, 16 s in all."""
    return pcm[44 * P.audio.sr :]


def heard(library: Path, blocks: list[np.ndarray]):
    stream = NATIVE.Stream(NATIVE.Library(library.resolve(), PORT / "runtime.h"))
    return NATIVE.Heard(*map(np.concatenate, zip(*map(stream.hear, blocks), strict=True)))


def same(a, b) -> bool:
    return all(x.tobytes() == y.tobytes() and x.shape == y.shape for x, y in zip(a, b, strict=True))


PLAIN = ("src/log_mel", "ports/runtime/fft", "generated/tables")  # objects of a build


def odd_sound() -> np.ndarray:
    """Sounds that an FFT rounds hardest: full scale, offsets, clicks, tones, silence; 12 s."""
    rng, n = np.random.default_rng(0), 2 * P.audio.sr
    t = np.arange(n) / P.audio.sr
    parts = [
        rng.integers(-32768, 32768, n), rng.integers(-3, 4, n) - 30000, np.zeros(n), 32767 * (-1) ** np.arange(n),
        np.where(rng.random(n) < 1e-3, -32768, 0), 20000 * np.sin(2 * np.pi * 4000 * t * t) + 9000,
    ]  # fmt: skip
    return np.concatenate(parts).astype(np.int16)


@pytest.mark.parametrize("preset", HERE)
@pytest.mark.parametrize("sound", ["shots", "odd"])
def test_codes_logits_and_onsets_are_the_host_s_to_the_byte(libraries, host, preset, sound, pcm):
    pcm = pcm if sound == "shots" else odd_sound()
    by_host, (codes, logits, shots) = parity.trace(host, "host", pcm, P), heard(libraries[preset], [pcm])
    assert codes.T.tobytes() == by_host.codes.tobytes() and logits.tobytes() == by_host.logits.tobytes()
    assert shots["onset"].tolist() == [onset for each in by_host.incidents for onset in each.onsets]
    last = {each.incident: each for each in by_host.incidents}
    assert set(shots["incident"].tolist()) == set(last)
    for incident, message in last.items():
        its = shots[shots["incident"] == incident]
        assert (its["score"].max(), its["spl_db"].max()) == (message.score, message.spl_db)
        assert its["decided"][-1] == message.decided
    assert sound == "odd" or len(shots) >= 3


def test_a_64_bit_arm_gives_the_same_bytes(libraries, burst, tmp_path):
    """The cross compiler's library in QEMU, called by a program in C."""
    library = libraries["runtime-aarch64"].resolve()
    program = tmp_path / "program"
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", PORT, "-o", program,
         REPO / "tests/firmware/runtime_driver.c", library, f"-Wl,-rpath,{library.parent}"],
        check=True,
    )  # fmt: skip
    given_bytes = subprocess.run(
        ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", program],
        input=burst.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    stream = NATIVE.Stream(NATIVE.Library(libraries["runtime"].resolve(), PORT / "runtime.h"))
    blocks = [stream.hear(burst[i : i + NATIVE.BLOCK]) for i in range(0, len(burst), NATIVE.BLOCK)]
    assert given_bytes == b"".join(part.tobytes() for block in blocks for part in block)
    assert sum(len(block.shots) for block in blocks) >= 1


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9000) | st.sampled_from([1, 111, 112, 511, 512, 1295, 1296, 1297]), max_size=40))
def test_blocks_of_any_size_give_the_same(libraries, burst, sizes):
    cuts = np.minimum(np.cumsum(sizes, dtype=int), len(burst))
    for preset in HERE:
        whole = heard(libraries[preset], [burst])
        assert same(heard(libraries[preset], np.split(burst, cuts)), whole) and len(whole.shots)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6000)), max_size=30))
def test_streams_that_take_turns_do_not_disturb_each_other(libraries, burst, turns):
    """What the model keeps of a stream's windows, and all scratch, is one for all."""
    library = NATIVE.Library(libraries[HERE[-1]].resolve(), PORT / "runtime.h")
    sounds = [np.roll(burst, shift) for shift in (0, 12345, 54321)]
    streams, at, parts = [NATIVE.Stream(library) for _ in sounds], [0, 0, 0], [[], [], []]
    for which, n in [*turns, (0, len(burst)), (1, len(burst)), (2, len(burst))]:
        parts[which].append(streams[which].hear(sounds[which][at[which] : at[which] + n]))
        at[which] += n
    for sound, its in zip(sounds, parts, strict=True):
        assert same(NATIVE.Heard(*map(np.concatenate, zip(*its, strict=True))), NATIVE.Stream(library).hear(sound))


def test_what_a_stream_heard_is_taken_before_another_thread_may_write_it(libraries, burst):
    class Lock:
        """One that another thread waits for, which writes as soon as it has it."""

        def __enter__(self):
            pass

        def __exit__(self, *_):
            for array in (stream._codes, stream._logits, stream._shots):
                array[:] = 0
            stream._heard.frames = stream._heard.windows = stream._heard.count = 0

    library = NATIVE.Library(libraries[HERE[-1]].resolve(), PORT / "runtime.h")
    undisturbed, stream = NATIVE.Stream(library), NATIVE.Stream(library)
    wanted = [undisturbed.hear(burst), undisturbed.finish()]
    library.lock = Lock()
    assert all(map(same, [stream.hear(burst), stream.finish()], wanted)) and len(wanted[0].shots)


@pytest.mark.parametrize("preset", ALL)
def test_a_library_asks_its_process_for_memory_functions_alone(libraries, preset):
    """So that it loads beside any C library; and it is small."""
    library = libraries[preset]
    asked = subprocess.run(["nm", "-D", "-u", library], capture_output=True, text=True, check=True).stdout.split()
    assert set(asked) - {"U"} <= {"memcmp", "memcpy", "memmove", "memset"}
    read = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    assert "SONAME" not in read and "NEEDED" not in read and library.stat().st_size < 200_000


@pytest.mark.slow
def test_another_distribution_s_compiler_gives_the_same_library(libraries, tmp_path):
    """One that checks buffers, guards stacks, and compiles for a newer processor where it is not asked."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec gcc -D_FORTIFY_SOURCE=2 -fstack-protector-all -march=x86-64-v2 "$@"\n')
    compiler.chmod(0o755)
    for command in (["--preset", "runtime", "-B", tmp_path, f"-DCMAKE_C_COMPILER={compiler}"], ["--build", tmp_path]):
        subprocess.run(["cmake", *command], cwd=FIRMWARE, check=True, capture_output=True)
    assert (tmp_path / parity.LIBRARY).read_bytes() == libraries["runtime"].read_bytes()


def test_the_library_refuses_a_damaged_model(libraries, tmp_path):
    damaged, library = tmp_path / "gunshot.so", libraries["runtime"].read_bytes()
    weights = (REPO / "models/quantized/model.tflite").read_bytes()
    values = next(v for name, v in layout.plan(weights, hop=P.detector.hop).members().items() if name == "weights2")
    place = library.index(values.tobytes())
    damaged.write_bytes(library[:place] + bytes([library[place] ^ 1]) + library[place + 1 :])
    with pytest.raises(RuntimeError, match=r"status=1 of the compiled model must be 0"):
        NATIVE.Stream(NATIVE.Library(damaged, PORT / "runtime.h"))


@pytest.fixture(scope="module", params=HERE)
def mels(request, libraries, tmp_path_factory):
    """The library of runtime_mels.c, with the objects that the build made, and its FFI."""
    out, built = tmp_path_factory.mktemp("mels") / "mels.so", libraries[request.param].parent
    objects = [built / "CMakeFiles/core.dir" / f"{name}.c.o" for name in PLAIN]
    march = "-march=x86-64-v3" if request.param == "runtime-v3" else "-march=x86-64"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O3", march, "-std=c11", "-ffp-contract=off", "-Wno-psabi", "-I", FIRMWARE,
         "-I", FIRMWARE / "src", "-I", FIRMWARE / "generated", "-I", PORT, "-o", out,
         REPO / "tests/firmware/runtime_mels.c", *objects, built / "libcmsis_dsp.a", "-lm"],
        check=True,
    )  # fmt: skip
    ffi = cffi.FFI()
    ffi.cdef(
        "int lanes(void); void both(const int16_t *, float *, float *); void codes_of(const float *, int, int8_t *);"
    )
    return ffi, ffi.dlopen(str(out))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 30, 1000, 32767]), st.integers(-20000, 20000), st.floats(0, 8000))
def test_a_mel_power_is_that_of_src_to_the_bit(mels, seed, size, offset, hz):
    """Codes are coarse: a float that is rounded otherwise would change one in a hundred thousand."""
    ffi, library = mels
    n = P.features.n_fft + (library.lanes() - 1) * P.features.hop_length
    noise, tone = (
        np.random.default_rng(seed).normal(0, size, n),
        size * np.sin(2 * np.pi * hz * np.arange(n) / P.audio.sr),
    )
    pcm = np.clip(noise * (seed % 3) + tone + offset, -32768, 32767).astype(np.int16)
    results = np.zeros((2, library.lanes(), P.features.n_mels), np.float32)
    library.both(ffi.from_buffer("int16_t[]", pcm), *(ffi.from_buffer("float[]", each) for each in results))
    assert results[0].tobytes() == results[1].tobytes()


def test_a_code_begins_at_its_power(mels):
    """Each threshold, and the floats on either side of it, as NumPy finds their places."""
    ffi, library = mels
    text = re.search(r"GUNSHOT_CODE_POWERS \{(.*?)\}", (FIRMWARE / "generated/constants.h").read_text(), re.DOTALL)[1]
    least = np.array([float(each.strip(" \\\n").rstrip("f")) for each in text.split(",")], np.float32)
    mel = np.concatenate(
        [np.nextafter(least, np.float32(0)), least, np.nextafter(least, np.float32(np.inf)), [0, 1e30]]
    )
    mel, codes = np.maximum(mel, 0).astype(np.float32), np.zeros(len(mel), np.int8)
    library.codes_of(ffi.from_buffer("float[]", mel), len(mel), ffi.from_buffer("int8_t[]", codes))
    assert (codes == np.searchsorted(least, mel, side="right") - 128).all() and len(least) == 255


LAYERS = """
typedef struct { int16_t height, width, channels; } map;
typedef struct { int16_t height, width; } pair;
typedef struct { map in, out; pair kernel, stride, before; } window;
typedef struct {
  const int32_t *bias, *multiplier; const int8_t *shift; int32_t zero_point, outside; const int8_t *table;
} rescale;
void layer_of(int32_t kind, int32_t plain, const window *, const int8_t *x, const int8_t *weights, const rescale *,
              int8_t *patch, int8_t *out);
int32_t layers_laid_out(void);
"""


@pytest.fixture(scope="module", params=["-march=x86-64", *(["-march=x86-64-v3"] if len(HERE) > 1 else [])])
def layers(request, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("layers") / "layers.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", request.param, "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-psabi",
         "-fsanitize=undefined", "-fno-sanitize-recover=all",
         "-I", FIRMWARE, "-I", FIRMWARE / "src", "-I", FIRMWARE / "generated", "-I", PORT,
         REPO / "tests/firmware/runtime_layers.c", FIRMWARE / "src/kernels.c",
         "-Wl,--wrap=gunshot_conv,--wrap=gunshot_depthwise", "-o", out],
        check=True,
    )  # fmt: skip
    return out


@st.composite
def drawn_layers(draw):
    """A kind, sizes of a window, and what draws all numbers."""
    kind, channels = draw(st.integers(0, 1)), draw(st.integers(1, 33))
    filters = channels if kind else draw(st.integers(1, 70))
    kernel, stride, out, before = (
        (draw(st.integers(low, high)), draw(st.integers(low, high))) for low, high in ((1, 4), (1, 3), (1, 4), (0, 2))
    )
    spare = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    whole = [(out[i] - 1) * stride[i] + kernel[i] - before[i] for i in (0, 1)]
    size = [max(1, whole[i] - spare[i] if draw(st.booleans()) else whole[i] + spare[i]) for i in (0, 1)]
    return kind, (*size, channels), (*out, filters), kernel, stride, before, draw(st.integers(0, 2**32 - 1))


@given(drawn_layers())
def test_a_layer_is_that_of_src_to_the_byte(layers, drawn):
    kind, size, out, kernel, stride, before, seed = drawn
    rng, ffi = np.random.default_rng(seed), cffi.FFI()
    ffi.cdef(LAYERS)
    fresh = layers.with_name(f"{os.getpid()}.so")  # it lays a layer out once, by the place of its constants
    shutil.copy(layers, fresh)
    library = ffi.dlopen(str(fresh))
    inputs = 1 if kind else size[2]
    numbers = {
        "bias": rng.integers(-(2**18), 2**18, out[2], np.int32), "multiplier": rng.integers(2**30, 2**31, out[2]),
        "shift": rng.integers(-12, 2, out[2]).astype(np.int8), "table": rng.integers(-128, 128, 256).astype(np.int8),
    }  # fmt: skip
    numbers["multiplier"] = numbers["multiplier"].astype(np.int32)
    x = rng.choice([-128, 127, *range(-20, 20)], size).astype(np.int8)
    weights = rng.integers(-127, 128, (out[2], *kernel, inputs)).astype(np.int8)
    pointers = {name: ffi.from_buffer(f"int{8 * v.itemsize}_t[]", v) for name, v in numbers.items()}
    table = pointers.pop("table") if seed % 2 else ffi.NULL
    pointers.pop("table", None)
    to = ffi.new("rescale *", {**pointers, "zero_point": int(rng.integers(-128, 128)), "outside": -7, "table": table})
    window = ffi.new("window *", (size, out, kernel, stride, before))
    patch, results = np.zeros(weights[0].size * max(1, size[2]), np.int8), np.zeros((2, *out), np.int8)
    for plain in (0, 1):
        library.layer_of(
            kind, plain, window, ffi.from_buffer("int8_t[]", x), ffi.from_buffer("int8_t[]", weights), to,
            ffi.from_buffer("int8_t[]", patch), ffi.from_buffer("int8_t[]", results[plain]),
        )  # fmt: skip
    laid = library.layers_laid_out()
    ffi.dlclose(library)
    assert laid == 1 and results[0].tobytes() == results[1].tobytes()
