"""Two models that hear loud onsets, their streams with shots and doors, and facts that gates judge."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gunshot import features
from gunshot.alarms import score
from gunshot.alarms.score import gathered
from gunshot.base import audio, params, tables
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.promotion import comparison

ROOT = Path(__file__).parents[1]
P = params.load("audio", "chunks", "context", "features", "detector", "promotion", path=ROOT / "params.yaml")
SR = P.audio.sr
STREAM_S = 40.0
COMMIT = "3f9c1e0b7d52a4866e01c39d7fb2858c04aa917e"
OPERATING = {"proof": "unproven", "false_incidents_per_hour_limit": 0.5, "score": 0.5}
REPORT = {
    "chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}, "bytes": 20_000, "arena_bytes": 9_000,
    "operators": ["CONV_2D"], "flip_rate": 0.001, "flip_rate_at_threshold": 0.002,
    **{kind: {"accuracy": 0.95, "recall": 0.9, "auc": 0.98, "recall_at_threshold": 0.97,
              "false_rate_at_threshold": 0.1} for kind in ("float", "int8")},
}  # fmt: skip


def jump(x: np.ndarray) -> np.ndarray:
    """Logits that are high where a window's loudest frame, far above its mean, is where training has a shot."""
    level = x.mean(axis=1, dtype=np.float64)
    place = level.argmax(axis=1)
    return np.where((place >= 2) & (place < 26), (level.max(axis=1) - level.mean(axis=1) - 15) / 4, -6)


def load(path: Path) -> Model:
    """A model whose file holds its name alone."""
    return Model(path, REPORT, jump, window=(P.features.n_mels, features.chunk_frames(P)))


def model(folder: Path, *, logit: float) -> Path:
    """Write a model that opens at a mean logit, and return its file."""
    path = folder / "model.tflite"
    folder.mkdir(parents=True)
    path.write_text("jump")
    tables.write_json(folder / "report.json", REPORT)
    settings = vars(listener.settings(load(path), P, logit=logit))
    heard = {name: getattr(P, name).model_dump() for name in ("audio", "chunks", "context", "features", "detector")}
    tables.write_json(folder / "operating.json", OPERATING | {"logit": logit, "settings": settings, "params": heard})
    return path


def bangs(starts_s, peaks, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = 60 * rng.standard_normal(int(STREAM_S * SR))
    for start_s, peak in zip(starts_s, peaks, strict=True):
        part = y[round(start_s * SR) :][:800]
        part += peak * rng.standard_normal(len(part)) * np.exp(-np.arange(len(part)) / 200)
    return np.clip(y, -32768, 32767).astype(np.int16)


STARTS_S = np.arange(2.0, 38.0, 3.0)  # 12 of them
LOUD, SOFT = 20_000, 1500
SHOT_PEAKS = [LOUD, SOFT] * 6
DOOR_PEAKS = [LOUD] * 3 + [SOFT] * 9


def write_streams(folder: Path) -> Path:
    """Write two streams with 12 shots each, half of them soft, and a quiet one with 12 doors, 3 of them loud."""
    rows, shots, events = [], [], []
    for path, kind, peaks, seed in (
        ("a.wav", "shots", SHOT_PEAKS, 0), ("b.wav", "shots", SHOT_PEAKS, 1), ("q.wav", "quiet", DOOR_PEAKS, 2),
    ):  # fmt: skip
        audio.write_pcm(folder / path, bangs(STARTS_S, peaks, seed), sr=SR)
        place = "park" if path == "a.wav" else "mall"
        row = {"path": path, "side": "test", "origin": "simulated", "kind": kind, "place": place}
        rows.append(row | {"unique_s": STREAM_S, "duration_s": STREAM_S})
        events.append({"path": path, "start": 0, "stop": int(STREAM_S * SR), "label": "wind+rain", "kind": "bed"})
        for i, (start_s, peak) in enumerate(zip(STARTS_S, peaks, strict=True)):
            at = round(start_s * SR)
            if kind == "quiet":
                events.append({"path": path, "start": at - 100, "stop": at + 800, "label": "door", "kind": "event"})
                continue
            shots.append({
                "path": path, "onset": at, "shock": -1, "blast": at, "firing": i, "weapon": ("M16", "Uzi")[i % 2],
                "distance_m": 30.0, "place": place, "peak_snr_db": 45.0 if peak == LOUD else 15.0, "heard": True,
            })  # fmt: skip
    for name, entries in (("streams.csv", rows), ("shots.csv", shots), ("events.csv", events)):
        columns = tables.STREAM_TABLES[name]
        blank = {column: kind() for column, kind in columns.items()}
        tables.write(folder / name, tables.frame([blank | row for row in entries], columns))
    return folder


def compared(folder: Path, monkeypatch, *, candidate: float, champion: float | None, p=P) -> dict:
    """Compare models that open at these logits on such streams, all below a folder; `p` are the tree's params."""
    monkeypatch.setattr(score, "load_once", load)
    logits = {comparison.CANDIDATE: candidate, comparison.CHAMPION: champion}
    paths = {name: model(folder / name, logit=logit) for name, logit in logits.items() if logit is not None}
    tested = write_streams(folder / "streams")
    contenders = {name: comparison.contender(path) for name, path in paths.items()}
    table = tables.read(tested / "streams.csv", tables.STREAM)
    measured = gathered(comparison.scored(contenders, table, tested, p, workers=1))
    return comparison.compare(contenders, measured, table, tested, p)


PARITY = {"cells": 1_000_000, "differing_codes": 1, "windows": 1000, "mismatched_bytes": 0, "onsets": 9,
          "differing_onsets": 0}  # fmt: skip
PORT = {
    "flash_bytes": 90_000, "ram_bytes": 20_000, "parity": PARITY,
    "instructions": {"features": 300_000, "inference": 700_000, "total": 1_000_000},
}  # fmt: skip
SOURCES = [{"source": "simulated", "upstream": "simulated", "licence": "CC0-1.0", "recordings": 900}]


def facts(content: dict, **values) -> dict:
    """What speaks for a candidate: all of it does, but for what is given otherwise."""
    evidence = {
        "commit": COMMIT, "champion": "v1.0.0", "champion_commit": COMMIT[::-1], "changed": [], "stale": [],
        "log": [f"{COMMIT[:7]} 2026-01-02 More recordings", "5d0e9a1 2026-01-01 Another <b>seed</b>"],
        "comparison": content,
        "validation": [{"suite": "raw", "success": True, "failed": {"critical": 0, "warning": 1, "info": 0}}],
        "groups": {"train": {"a", "b"}, "val": {"c"}, "test": {"d"}}, "sources": SOURCES,
        "streams": {"simulated": {}, "real": {}, "int8_against_float": {
            "simulated": {"recall_drop": 0.001, "false_incidents_per_hour_within_bound": True}}},
        "firmware": {"host": PORT, "mps2-an386": PORT}, "report": REPORT,
        "seeds": {"recall": {"simulated": [0.9, 0.91, 0.92]}},
        "metrics": {"reports/metrics.json": {"int8.auc": {"old": 0.97, "new": 0.98, "diff": 0.01}}},
        "params": {"params.yaml": {"network.epochs": {"old": 10, "new": 12, "diff": 2}}},
        "drift": {"drift": True, "reason": "2 of 12 columns drift: level -40 -> -30", "recordings": 20, "effective": 12,
                  "chunks": 4000, "columns": [{"column": "level", "distance": 0.4, "threshold": 0.2, "drifts": True,
                                               "reference": -40.0, "batch": -30.0}]},
    }  # fmt: skip
    return copy.deepcopy(evidence | values)


def section(**values) -> SimpleNamespace:
    """The sections of params.yaml with other values in promotion."""
    return SimpleNamespace(**vars(P) | {"promotion": P.promotion.model_copy(update=values)})


def read(path: Path):
    return json.loads(path.read_text())
