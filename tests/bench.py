"""Benchmarks as ratios to references of the same run, in one process and one thread: `make bench`."""

import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported

import librosa
import numpy as np
import scipy.fft
import soundfile as sf
import typer

from gunshot import features
from gunshot.alarms.score import score_stream
from gunshot.base import audio, params, tables
from gunshot.cli.detect import detect
from gunshot.cli.options import Format
from gunshot.device import emulator, parity, runtime
from gunshot.models.model import load_model, report_path
from gunshot.simulate import corpus

TOLERANCE_DB = 1e-3
# What may fail: ratios of this core's time to a reference of the same run.
LEAST_LIBROSA = 8.0  # librosa, called once for each chunk, over log-mel of all chunks
LEAST_TFLM = 6.0  # TFLM's interpreter, a call a window, over the network run along a recording
LEAST_RUNTIME = 3.0  # `gunshot detect` over the library of `gunshot export runtime`, both from the wav on
MOST_FFTS = {  # over SciPy's bare FFT of the frames of as much sound
    "the simulator": 120.0,
    "log-mel and int8 network": 3.5,
    "gunshot detect": 5.0,
    "one model on streams": 13.0,
}
ROW = {"path": "x.wav", "origin": "simulated", "kind": "quiet", "place": ""}
ROUNDS = 7
CHUNKS = 256


def best(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the shortest time of each call in s; rounds are interleaved, so that all see the same machine."""
    times = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()  # the first fills caches and loads code
    for _ in range(rounds):
        for label, call in calls.items():
            start = time.perf_counter()
            call()
            times[label] = min(times[label], time.perf_counter() - start)
    return times


def main() -> int:
    p = params.load("audio", "chunks", "context", "features", "detector", "network", "simulate")
    length, mel = p.audio.chunk_length, {"sr": p.audio.sr, **p.features.model_dump()}
    librosa_mel = {key: value for key, value in mel.items() if key != "amin"} | {"center": False}
    rng = np.random.default_rng(0)
    y = (0.2 * rng.standard_normal((CHUNKS, length)) * np.exp(-np.arange(length) / 1000)).astype(np.float32)
    pcm = np.rint(y * 32768).astype(np.int16)
    y = pcm.astype(np.float32) / 32768

    def of_librosa(y: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(y=y, **librosa_mel)
        return librosa.power_to_db(power, ref=1.0, amin=p.features.amin, top_db=None)

    long = pcm.ravel()
    calls = {
        "librosa, a chunk a call": lambda: np.stack([of_librosa(chunk) for chunk in y]),
        "librosa, all chunks at once": lambda: of_librosa(y),
        "gunshot, a chunk a call": lambda: np.stack([features.log_mel(chunk, **mel) for chunk in pcm]),
        "gunshot, all chunks at once": lambda: features.log_mel(pcm, **mel),
    }
    expected, actual = calls["librosa, a chunk a call"](), calls["gunshot, all chunks at once"]()
    apart = float(np.abs(expected - actual).max())
    times = best({**calls, "gunshot, a long recording": lambda: features.log_mel(long, **mel)})
    base = times["librosa, a chunk a call"]
    whole_frames = features.frames(len(long), n_fft=mel["n_fft"], hop_length=mel["hop_length"])
    for label, seconds in times.items():
        windows = whole_frames / expected.shape[-1] if label.endswith("recording") else CHUNKS
        print(f"{label:28} {windows / seconds:8.0f} windows/s {windows / seconds * base / CHUNKS:6.1f} x librosa")
    print(f"largest difference {apart:.1e} dB, must be at most {TOLERANCE_DB:g}")
    kept = [apart <= TOLERANCE_DB, at_least("librosa", base / times["gunshot, all chunks at once"], LEAST_LIBROSA)]
    pcm = np.tile(long, 10)
    seconds, tflm_s, windows_s = scoring(pcm, p, mel)
    kept.append(at_least("TFLM a window", tflm_s / windows_s, LEAST_TFLM))
    cost = {"the simulator": rendering(p)} | seconds
    bare = bare_fft(pcm, mel)
    for what, most in MOST_FFTS.items():
        kept.append(cost[what] / bare <= most)
        print(
            f"{what:26} {1 / cost[what]:6.0f} times as fast as the sound lasts, {cost[what] / bare:5.1f} bare FFTs, "
            f"must be at most {most:g}{'' if kept[-1] else ': MISSED'}"
        )
    detect_s, runtime_s = by_detect_and_runtime(mel["sr"])
    print(f"the wheel's library hears {1 / runtime_s:.0f} s of sound a second, gunshot detect {1 / detect_s:.0f}")
    kept.append(at_least("gunshot detect", detect_s / runtime_s, LEAST_RUNTIME))
    print(processor())
    return int(not all(kept))


def at_least(reference: str, ratio: float, least: float) -> bool:
    """Print how many times as fast as a reference something is, and return whether that is enough."""
    print(f"{ratio:.1f} times as fast as {reference}, must be at least {least:g}{'' if ratio >= least else ': MISSED'}")
    return ratio >= least


def processor() -> str:
    """Return the name of this machine's processor, beside which absolute figures may be written down."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def bare_fft(pcm: np.ndarray, mel: dict) -> float:
    """Return the s of this core that SciPy's FFT of the frames of a second of sound takes, and nothing else."""
    frames = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), mel["n_fft"])[:: mel["hop_length"]]
    block = np.ascontiguousarray(frames[: features.BLOCK])
    return (
        least(lambda: [scipy.fft.rfft(block, axis=-1) for _ in range(100)])
        / 100
        / len(block)
        * (mel["sr"] / mel["hop_length"])
    )


def scoring(pcm: np.ndarray, p, mel: dict) -> tuple[dict[str, float], float, float]:
    """Return the s of this core that a second of sound takes to score, and a window by TFLM's interpreter and by ours.

    The network is as large as params.yaml says; its weights, which cost the same whatever they are, are not trained.
    """
    from gunshot.models.network import network, quantize

    net = network.build(p.network, n_mels=mel["n_mels"], n_frames=p.context.frames)
    chunks, _ = features.windows(pcm, np.arange(CHUNKS) * p.audio.chunk_length, p)
    with tempfile.TemporaryDirectory() as name:
        file, wav = Path(name, "model.tflite"), Path(name, "x.wav")
        file.write_bytes(quantize.convert(quantize.fixed(net, n_frames=p.context.frames), chunks))
        report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
        tables.write_json(report_path(file), report)
        audio.write_pcm(wav, pcm, sr=mel["sr"])
        for table in ("shots.csv", "events.csv"):
            tables.write(Path(name, table), tables.frame([], tables.STREAM_TABLES[table]))
        model, tflm, whole = load_model(file), quantize.Tflm(file.read_bytes()), features.log_mel(pcm, **mel)
        calls = {
            "log-mel and int8 network": lambda: model.one_pass(features.log_mel(pcm, **mel)),
            "gunshot detect": lambda: heard([wav], str(file)),
            "one model on streams": lambda: score_stream(ROW, Path(name), {"int8": file}, {}, p),
        }
        seconds = {what: least(call) * mel["sr"] / len(pcm) for what, call in calls.items()}
        windows = len(model.window_logits(whole, hop=p.detector.hop))
        ours = least(lambda: model.window_logits(whole, hop=p.detector.hop)) / windows
        return seconds, least(lambda: tflm.logit(chunks)) / len(chunks), ours


def by_detect_and_runtime(sr: int) -> tuple[float, float]:
    """Return the s of this core that a second of sound takes, from the wav to its onsets, which are the same.

    By `gunshot detect` with the pipeline's int8 model, and by the library of the port runtime, which has it compiled
    in: that for AVX2 where this processor has it.
    """
    native, pcm = runtime.native(Path("firmware")), np.tile(parity.recording(sr=sr), 2)
    library = native.Library(
        (emulator.build("runtime-v3" if native._flags() >= native.V3 else "runtime") / parity.LIBRARY).resolve(),
        Path("firmware", runtime.SOURCE, "runtime.h"),
    )

    def by_library() -> list[float]:
        stream = native.Stream(library)
        parts = stream.hear(sf.read(wav, dtype="int16")[0]), stream.finish()
        return (np.concatenate([part.shots["onset"] for part in parts]) / sr).round(4).tolist()

    with tempfile.TemporaryDirectory() as name:
        wav = Path(name, "x.wav")
        audio.write_pcm(wav, pcm, sr=sr)
        printed = heard([wav], "int8", threshold=None, format=Format.json)
        assert [json.loads(line)["onset_s"] for line in printed.splitlines()] == by_library()
        calls = (lambda: heard([wav], "int8", threshold=None), by_library)
        return tuple(least(call) * sr / len(pcm) for call in calls)


def heard(files: list[Path], model: str, threshold: float | None = 0.5, format: Format = Format.text) -> str:
    """Return what gunshot detect prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            detect(files, model=model, threshold=threshold, format=format)
        except typer.Exit as done:
            assert not done.exit_code
    return printed.getvalue()


def least(call: Callable[[], object]) -> float:
    """Return the least time of this core that a call takes, s."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def rendering(p) -> float:
    """Return the s of this core that the simulator takes for a second of sound."""
    source = corpus.Corpus(0, p.simulate.duration_s, p.simulate.distance_m, p.audio.sr)
    tasks = [(class_, i) for class_ in ("gun", "env") for i in range(-4, 70)]
    start, rendered = 0.0, 0
    for class_, i in tasks:
        if i == 0 and not start:  # what came before only loaded code
            start = time.process_time()
        recording = corpus.render(class_, abs(i), source)
        rendered += len(recording.pcm) * (start > 0)
    return (time.process_time() - start) / rendered * p.audio.sr


if __name__ == "__main__":
    sys.exit(main())
