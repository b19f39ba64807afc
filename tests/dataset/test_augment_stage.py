"""The stage augment: copies of the training side's chunks alone, under backgrounds of that side alone."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from gunshot.base import audio, tables
from gunshot.dataset import chunks
from stages import augment

REPO = Path(__file__).parents[2]
SR, LENGTH = 16_000, 4096
TONES = {"train": 1000, "val": 2500, "test": 5000}  # Hz, of each side's environment


@pytest.fixture
def augmented(tmp_path, monkeypatch):
    """The stage's output over one gun and one environment recording a side."""
    content = yaml.safe_load((REPO / "params.yaml").read_text())
    content["augment"] |= {
        "background_share": 1.0, "snr_db": [0.0, 0.0], "reverb_share": 0.0, "filter_share": 0.0, "clip_share": 0.0,
        "gun_copies": 3, "env_copies": 1, "gain_db": [0.0, 0.0],
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    sides, rows, t = [], [], np.arange(3 * LENGTH) / SR
    for side, hz in TONES.items():
        for class_, y in (("gun", 0.5 * np.exp(-t / 0.3)), ("env", 0.5 * np.sin(2 * np.pi * hz * t))):
            name, group = f"m/{class_}/{side}.wav", f"{class_}:{side}"
            pcm, starts = audio.to_int16(y), np.array([0, LENGTH])
            audio.write_pcm(tmp_path / "raw" / name, pcm, sr=SR)
            audio.write_pcm(tmp_path / "chunks" / name, chunks.cut(pcm, starts, chunk_length=LENGTH).ravel(), sr=SR)
            row = {"path": name, "class": class_, "label": "l", "recording_group": group, "source": "m"}
            rows += chunks.rows(row, starts, np.full(2, -1))
            sides.append({"recording_group": group, "side": side, "class": class_, "source": "m"})
    tables.write(tmp_path / "chunks/chunks.csv", tables.frame(rows, tables.CHUNK))
    tables.write(tmp_path / "splits.csv", tables.frame(sides, tables.SPLIT))
    augment.main(*(tmp_path / name for name in ("raw", "chunks", "splits.csv", "augmented")))
    return tables.read(tmp_path / "augmented/chunks.csv", tables.CHUNK), tmp_path / "augmented"


def test_no_copy_of_a_validation_or_test_group_exists(augmented):
    table, out = augmented
    assert set(table["recording_group"]) == {"gun:train", "env:train"}
    assert table["class"].value_counts().to_dict() == {"gun": 6, "env": 2}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.wav")} == set(table["path"])
    assert sorted(set(table["path"])) == ["0/m/env/train.wav", *(f"{i}/m/gun/train.wav" for i in range(3))]


def test_no_copy_holds_a_background_of_a_validation_or_test_group(augmented):
    table, out = augmented
    rows = table[table["class"] == "gun"].itertuples()
    copies = np.stack([audio.read_pcm(out / row.path, sr=SR)[row.start : row.start + LENGTH] for row in rows])
    spectrum = np.abs(np.fft.rfft(audio.to_float(copies) * np.hanning(LENGTH)))
    hz = np.fft.rfftfreq(LENGTH, 1 / SR)
    level = {side: spectrum[:, np.abs(hz - tone).argmin()] for side, tone in TONES.items()}
    assert (level["train"] > 100 * np.maximum(level["val"], level["test"])).all()
