"""The generated C on this machine, beside TFLM's interpreter."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from gunshot.export.network.layout import Plan, plan
from gunshot.export.network.source import sources
from gunshot.models.network.quantize import Tflm

SOURCES = ("model_compiled.c", "kernels.c", "crc32.c", "site.c")
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-shared", "-Wl,--wrap=gunshot_network_head")
MANY = """
#include <stdalign.h>
#include <string.h>

#include "constants.h"
#include "model.h"
#include "network.h"

typedef void head(const gunshot_network *network, const int8_t *vectors, int8_t *arena, int8_t *outputs);
head __real_gunshot_network_head, __wrap_gunshot_network_head;
int many(int n, int stream, const int8_t *codes, int8_t *outputs, int16_t *logits);

static int8_t *watched;

/* The linker puts this between the model and its head: all outputs are kept. */
void __wrap_gunshot_network_head(const gunshot_network *network, const int8_t *vectors, int8_t *arena,
                                 int8_t *outputs) {
  __real_gunshot_network_head(network, vectors, arena, outputs);
  if (watched) memcpy(watched, outputs, GUNSHOT_NETWORK_OUTPUTS);
}

/* Codes of windows [n][N_FRAMES][N_MELS], of one stream or each alone. Returns the first status that is not OK. */
int many(int n, int stream, const int8_t *codes, int8_t *outputs, int16_t *logits) {
  static alignas(16) uint8_t arena[GUNSHOT_NETWORK_ARENA_BYTES];
  gunshot_status status = gunshot_model_init(gunshot_model_artifact, arena, sizeof arena);
  for (int i = 0; i < n && !status; i++, codes += GUNSHOT_N_FRAMES * GUNSHOT_N_MELS) {
    watched = outputs + i * GUNSHOT_NETWORK_OUTPUTS;
    if (!stream) gunshot_model_reset();
    status = gunshot_model_score(codes, logits + i);
  }
  watched = NULL;
  return (int)status;
}
"""


def check(model: bytes, codes: np.ndarray, *, hop: int, firmware: Path) -> dict[str, int]:
    """Return how the generated C, compiled for this machine, differs from TFLM.

    Where windows of a stream share vectors, half of the windows are such, `hop` frames apart; the others begin a stream
    each.

    ``windows``; ``distinct_bytes``, the different output bytes that TFLM gives: few prove little;
    ``mismatched_bytes``, those of the C that are others. A logit of `gunshot_model_score` that is not its output code
    less the zero point counts as one more.

    Parameters
    ----------
    model : the .tflite file's bytes
    codes : np.ndarray [shape=(n, n_mels, n_frames)], int8
    firmware : the folder of kernels.c and model_compiled.c

    Raises
    ------
    ValueError
        The model is not covered, the hop does not suit it, the codes are of another shape or type, or gcc is missing.
    RuntimeError
        gcc or a call in the C fails.
    """
    layout, tflm, wrong, distinct = plan(model, hop=hop), Tflm(model), 0, set()
    alone, streamed = codes, codes[:0]
    if layout.new < layout.positions and len(codes) > 1:
        alone, streamed = codes[::2], stream(codes[1::2], count=len(codes) // 2, hop=hop)
    with tempfile.TemporaryDirectory() as folder:
        library = build(model, Path(folder), hop=hop, firmware=firmware)
        for part in (alone, streamed):
            outputs, logits = run(library, layout, part, stream=part is streamed)
            expected = tflm.outputs(part)
            wrong += (outputs != expected).sum() + (logits != expected[:, 0] - layout.header["output_zero_point"]).sum()
            distinct |= set(np.unique(expected).tolist())
    return {"windows": len(codes), "distinct_bytes": len(distinct), "mismatched_bytes": int(wrong)}


def stream(codes: np.ndarray, *, count: int, hop: int) -> np.ndarray:
    """Return `count` windows, `hop` frames apart, of a stream that windows [shape=(n, n_mels, n_frames)] are joined to.

    As many of them as it needs are taken, evenly.
    """
    n_frames = codes.shape[2]
    needed = -(-((count - 1) * hop + n_frames) // n_frames)
    taken = codes[np.linspace(0, len(codes) - 1, needed).astype(int)]
    joined = np.concatenate(taken, axis=1)
    return np.lib.stride_tricks.sliding_window_view(joined, n_frames, axis=1)[:, ::hop][:, :count].swapaxes(0, 1)


def windows(model: bytes, x: np.ndarray, rng: np.random.Generator, *, count: int) -> np.ndarray:
    """Return input codes, int8 [shape=(count, n_mels, n_frames)]: half of log-mels, half noise of any level.

    `x` are log-mels in dB [shape=(n, n_mels, n_frames)]; where they are fewer than half, there is more noise.
    """
    codes = Tflm(model).codes(x[: count // 2])
    n = count - len(codes)
    noise = rng.normal(rng.uniform(-128, 127, (n, 1, 1)), rng.uniform(1, 90, (n, 1, 1)), (n, *codes.shape[1:]))
    return np.concatenate([codes, np.clip(np.rint(noise), -128, 127).astype(np.int8)])


def build(model: bytes, folder: Path, *, hop: int, firmware: Path, flags: tuple[str, ...] = FLAGS) -> Path:
    """Write the C of a model to `folder`, compile it with that in `firmware`, and return the library."""
    if not shutil.which("gcc"):
        raise ValueError("gcc must be on the PATH to compile the network (Debian: apt install gcc libc6-dev)")
    for name, text in (sources(model, hop=hop) | {"constants.h": constants(model, hop=hop), "many.c": MANY}).items():
        (folder / name).write_text(text)
    files = ["network.c", "many.c", *(str(Path(firmware).resolve() / name) for name in SOURCES)]
    command = ["gcc", *flags, "-I.", f"-I{Path(firmware).resolve()}", *files, "-o", "network.so"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"gcc: {done.stderr}")
    return folder / "network.so"


def constants(model: bytes, *, hop: int) -> str:
    """Return the part of constants.h that model_compiled.c reads."""
    values = {name: value.item() for name, value in plan(model, hop=hop).header.items()} | {"detector_hop": hop}
    lines = [
        f"#define GUNSHOT_{name.upper()} {f'{v:.9g}f' if isinstance(v, float) and v % 1 else f'({v})'}\n"
        for name, v in values.items()
    ]
    return "".join(lines)


def run(library: Path, layout: Plan, codes: np.ndarray, *, stream: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return a library's output codes, int8 [shape=(n, outputs)], and logits in steps, int16 [shape=(n,)].

    Codes [shape=(n, n_mels, n_frames)], int8, are of windows that begin a stream each, or follow each other in one.
    """
    shape = int(layout.header["n_mels"]), int(layout.header["n_frames"])
    if codes.dtype != np.int8 or codes.shape[1:] != shape:
        raise ValueError(f"codes {codes.dtype} shape={codes.shape} must be int8 [shape=(n, {shape[0]}, {shape[1]})]")
    frames = np.ascontiguousarray(codes.transpose(0, 2, 1))
    outputs, logits = np.empty((len(codes), layout.outputs), np.int8), np.empty(len(codes), np.int16)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (frames, outputs, logits)]
    if status := ctypes.CDLL(str(library)).many(len(codes), stream, *pointers):
        raise RuntimeError(f"gunshot_status {status} of the generated C")
    return outputs, logits
