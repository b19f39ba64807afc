"""The firmware against Python on the same samples: codes of frames, logits of windows, onsets."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gunshot import features
from gunshot.base import audio
from gunshot.detect import listener
from gunshot.device import cost, emulator, messages, runtime, web
from gunshot.models.model import Model
from gunshot.simulate import streams

SEED, DURATION_S, EVENTS_PER_MIN = 1, 60.0, 20.0  # of the stream that parity and cost are measured on
MODULE = "gunshot.wasm"  # of the port web
LIBRARY = "gunshot.so"  # of the port runtime
PATIENCE = 10  # times as long as it sounds may a recording take


@dataclass(frozen=True)
class Trace:
    """What the firmware computes: int8 codes [shape=(n_mels, frames)] and int16 logits [shape=(windows,)], in steps."""

    codes: np.ndarray
    logits: np.ndarray
    incidents: list[messages.Incident]
    counts: dict[str, int]  # see cost.counts; of the ports web and runtime none
    shots: tuple[int, ...] = ()  # onsets in samples, of the port runtime, which sends no messages

    @property
    def onsets(self) -> set[int]:
        """Return the onsets, in samples."""
        return {*self.shots, *(onset for each in self.incidents for onset in each.onsets)}


def recording(*, sr: int, duration_s: float = DURATION_S) -> np.ndarray:
    """Return a simulated stream with shots and hard negatives, int16 [shape=(n,)]; always the same."""
    stream = streams.render(
        SEED, "test", 0, "shots", sr=sr, stream_s=duration_s, events_per_min=EVENTS_PER_MIN, distance_m=(20.0, 200.0)
    )
    return stream.pcm


def _run(
    program: Path, port: str, pcm: np.ndarray, outputs: list[str], p: features.Sections
) -> tuple[list[str], list[bytes]]:
    """Run a program of a port on samples; return the lines that it printed, its messages, and its other outputs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, names = Path(scratch), ["messages", *outputs]
        audio.write_pcm(folder / "in.wav", pcm, sr=p.audio.sr)
        patience = PATIENCE * max(6.0, len(pcm) / p.audio.sr)
        done = emulator.run(program, port, ["in.wav", *names], folder=folder, timeout_s=patience)
        if done.code:
            said = " ".join(line for line in done.lines if line.startswith("error:"))
            raise emulator.FirmwareError(f"{program.name} on {port}: code={done.code} must be 0: {said}")
        return done.lines, [(folder / name).read_bytes() for name in names]


def trace(programs: Path, port: str, pcm: np.ndarray, p: features.Sections) -> Trace:
    """Return what the programs of a port (see `emulator.build`) compute from int16 samples [shape=(n,)].

    Raises
    ------
    FirmwareError
        The program failed; its exit code and words are told.
    """
    n_mels = p.features.n_mels
    if port == "runtime":
        rows, logits, shots = runtime.run(programs / LIBRARY, pcm)
        return Trace(rows.T, logits, incidents=[], counts={}, shots=tuple(shots["onset"].tolist()))
    if port == "web":
        heard = web.run(programs / MODULE, pcm, n_mels=n_mels)
        sent, codes, logits, counts = heard.messages, heard.codes, heard.logits, {}
    else:
        lines, (sent, codes, logits) = _run(programs / "gunshot_trace", port, pcm, ["codes", "logits"], p)
        counts = cost.counts(lines)
    return Trace(
        codes=np.frombuffer(codes, np.int8).reshape(-1, n_mels).T,
        logits=np.frombuffer(logits, "<i2"),
        incidents=_incidents(sent),
        counts=counts,
    )


def incidents(programs: Path, port: str, pcm: np.ndarray, p: features.Sections) -> list[messages.Incident]:
    """Return the incident messages that the firmware sends on a port while it hears int16 samples [shape=(n,)].

    Raises
    ------
    FirmwareError, ValueError
        The program failed, or sent what is no message.
    """
    if port == "web":
        return _incidents(web.run(programs / MODULE, pcm, n_mels=p.features.n_mels).messages)
    _, (sent,) = _run(programs / "gunshot", port, pcm, [], p)
    return _incidents(sent)


def _incidents(sent: bytes) -> list[messages.Incident]:
    return [message for message in messages.decode_all(sent) if isinstance(message, messages.Incident)]


def expected(pcm: np.ndarray, model: Model, p: listener.Sections) -> np.ndarray:
    """Return the onsets that `gunshot detect` finds, as samples, int64 [shape=(shots,)]."""
    ear = listener.Listener(model, [model.threshold()], p)
    (shots,), _ = ear.push(pcm)
    return ear.samples(shots)


def differences(traced: Trace, pcm: np.ndarray, model: Model, p: listener.Sections) -> dict[str, int | list[int]]:
    """Return how a port differs from Python with the same model.

    `cells`, `differing_codes`: int8 codes of the frames. `windows`, `mismatched_bytes`: logits that both compute from
    the firmware's codes, which must be equal. `onsets`: Python's. `differing_onsets`: those of Python or of the
    firmware alone, which `of_python_alone` and `of_firmware_alone` list, in samples.
    """
    codes = model.codes(features.log_mel(pcm, sr=p.audio.sr, **p.features.model_dump()))
    if traced.codes.shape != codes.shape:
        raise ValueError(f"codes shape={traced.codes.shape} must be {codes.shape}, as Python's")
    heard = (traced.codes.astype(np.float32) - model.code_zero) * np.float32(model.code_db)  # these codes again
    lead = listener.settings(model, p, logit=0.0).lead
    heard = np.concatenate([np.repeat(heard[:, :1], lead, axis=1), heard], axis=1)
    logits = model.window_logits(heard, hop=p.detector.hop)
    if traced.logits.shape != logits.shape:
        raise ValueError(f"logits shape={traced.logits.shape} must be {logits.shape}, as Python's")
    wanted, sent = set(expected(pcm, model, p).tolist()), traced.onsets
    return {
        "cells": codes.size,
        "differing_codes": int((traced.codes != codes).sum()),
        "windows": logits.size,
        "mismatched_bytes": int((traced.logits != logits).sum()),
        "onsets": len(wanted),
        "differing_onsets": len(wanted ^ sent),
        "of_python_alone": sorted(wanted - sent),
        "of_firmware_alone": sorted(sent - wanted),
    }


def port_figures(port: str, programs: Path, traced: Trace, pcm: np.ndarray, model: Model, p: listener.Sections) -> dict:
    """Return what reports/firmware.json says of a port: parity; of boards instructions and bytes, of others bytes."""
    equal = differences(traced, pcm, model, p)
    if port == "host":
        return {"parity": equal}
    if port == "web":
        return {"module_bytes": (programs / MODULE).stat().st_size, "parity": equal}
    if port == "runtime":
        return {"library_bytes": (programs / LIBRARY).stat().st_size, "parity": equal}
    instructions = cost.instructions(traced.counts, hop=p.detector.hop)
    return {
        "instructions": instructions,
        "estimate_ms": {name: round(1e3 * n / cost.CLOCK_HZ, 2) for name, n in instructions.items()},
        **cost.sizes((programs / "gunshot.map").read_text()),
        "stack_bytes": traced.counts["stack"],
        "parity": equal,
    }


def measure(port: str, programs: Path, pcm: np.ndarray, model: Model, p: listener.Sections) -> dict:
    """Return the `port_figures` on int16 samples [shape=(n,)]."""
    return port_figures(port, programs, trace(programs, port, pcm, p), pcm, model, p)
