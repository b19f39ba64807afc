"""A tiny corpus of imported recordings, for streams that are laid from it."""

from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import streams
from gunshot.base import audio, tables

SR, S = 16_000, 30.0


def table(*rows):
    """A table of recordings from (path, class, group, source, samples)."""
    return tables.frame(
        (
            {
                "path": path, "class": class_, "label": f"label of {path}", "recording_group": group, "source": source,
                "upstream": source, "licence": "CC0-1.0", "sr_found": SR, "duration_s": n / SR, "sha256": path,
            }
            for path, class_, group, source, n in rows
        ),
        tables.RECORDING,
    )  # fmt: skip


def build(raw: Path) -> tuple[Path, pd.DataFrame, dict[str, list[int]], dict[str, str]]:
    """Write recordings below `raw`, no two alike; return it, their table, their onsets and their groups' sides."""
    rng, rows, onsets, sides = np.random.default_rng(1), [], {}, {}
    for side in ("train", "val", "test"):
        for i, seconds in enumerate((3.0, 71.3, 9.7, 0.4, 20.0, 3.0, 12.0)):
            path, n = f"mine/{side}{i}.wav", int(seconds * SR)
            y = 0.05 * rng.standard_normal(n)
            if i >= 5:
                onsets[path] = [int(0.7 * SR)] if i == 5 else [SR, SR + 2000, 5 * SR, 7 * SR]
                for onset in onsets[path]:
                    y[onset : onset + 800] += np.exp(-np.arange(800) / 200)[: n - onset]
            audio.write_pcm(raw / path, audio.to_int16(y), sr=SR)
            rows.append((path, "gun" if i >= 5 else "env", f"{side}:{i}", "mine", n))
            sides[f"{side}:{i}"] = side
    rows.append(("simulated/0.wav", "env", "test:0", "simulated", 4 * SR))
    return raw, table(*rows), onsets, sides


def plan(corpus, **changed):
    _, recordings, onsets, sides = corpus
    return streams.plan_real(recordings, onsets, sides, **{"seed": 8, "stream_s": S, "sr": SR} | changed)
