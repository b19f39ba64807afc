"""Sound and pictures that a page holds itself: data URIs, and waveforms as SVG."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile as sf
from matplotlib import colormaps
from matplotlib.image import imsave

from gunshot.base import audio

MEL_DB = (-90.0, 0.0)  # of the colours
POINTS = 300  # of a waveform
BEFORE_S, AFTER_S = 0.5, 1.0  # of an onset: what an excerpt holds
PEAK = 16384  # of an excerpt: all are made equally loud


def excerpt(path: Path, *, onset_s: float) -> tuple[np.ndarray, int]:
    """Return a second and a half of a wav around an onset, int16 [shape=(n,)], scaled to PEAK, and its rate in Hz."""
    sr, _ = audio.header(path)
    start = max(0, round((onset_s - BEFORE_S) * sr))
    pcm = audio.read_pcm(path, sr=sr)[start : round((onset_s + AFTER_S) * sr)]
    loudest = max(1, int(np.abs(pcm.astype(np.int32)).max(initial=0)))
    return np.round(pcm * (PEAK / loudest)).astype(np.int16), sr


def sound(pcm: np.ndarray, *, sr: int) -> str:
    """Return int16 samples [shape=(n,)] as a data URI of FLAC."""
    out = io.BytesIO()
    sf.write(out, pcm, sr, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(out.getvalue()).decode()}"


def picture(log_mel: np.ndarray) -> str:
    """Return a log-mel [shape=(n_mels, frames)] in dB as a data URI of PNG, the lowest band at the bottom."""
    low, high = MEL_DB
    level = np.clip((log_mel[::-1] - low) / (high - low), 0, 1)
    out = io.BytesIO()
    imsave(out, colormaps["magma"](level, bytes=True), format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def waveform(pcm: np.ndarray) -> str:
    """Return int16 samples [shape=(n,)] as points of an SVG polyline: x from 0 to 100, y from -1 to 1 at their peak."""
    edges = np.linspace(0, len(pcm), min(POINTS, len(pcm)) + 1).astype(int)[:-1]
    y = audio.to_float(pcm)
    y = np.column_stack([np.minimum.reduceat(y, edges), np.maximum.reduceat(y, edges)]).ravel()
    y = -y / max(np.abs(y).max(), 1e-4)
    x = np.repeat(edges / len(pcm) * 100, 2)
    return " ".join(f"{a:.1f},{b:.2f}" for a, b in zip(x, y, strict=True))
