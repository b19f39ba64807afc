"""A small good corpus in every form that a suite reads, and functions that spoil a copy of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from gunshot import validation
from gunshot.base import audio, params, tables

ROOT = Path(__file__).parents[2]
P = params.load("audio", "context", "quality", "splits", "features", "validation", path=ROOT / "params.yaml")
SR, LENGTH = P.audio.sr, P.audio.chunk_length
FRAMES = P.context.frames
ONSET, GROUPS = 1000, 20
RAW, CHUNKS, SPLITS, TAGS = "raw/mine/recordings.csv", "chunks/chunks.csv", "splits.csv", "tagged/tags.csv"
GUN, ENV = "mine/gun/x/00.wav", "mine/env/x/00.wav"
SIDE_OF = ["train"] * 16 + ["val"] * 2 + ["test"] * 2
INPUTS = {
    "raw": ["raw"],
    "tags": ["tagged", "raw"],
    "chunks": ["chunks"],
    "split": ["chunks/chunks.csv", "splits.csv", "pairs.csv"],
    "features": ["features"],
}


def recording(rng: np.random.Generator, kind: str) -> np.ndarray:
    y = 0.01 * rng.standard_normal(2 * LENGTH)
    if kind == "gun":
        y[ONSET:] += 0.8 * np.exp(-np.arange(2 * LENGTH - ONSET) / 80) * rng.standard_normal(2 * LENGTH - ONSET)
    return audio.to_int16(y)


def build(root: Path) -> None:
    """Write a good corpus: one recording and one chunk a group and class, in every form that a suite reads."""
    rng = np.random.default_rng(0)
    recordings, chunks, sides = [], [], []
    for kind in ("gun", "env"):
        for i, side in enumerate(SIDE_OF):
            path, group, pcm = f"mine/{kind}/x/{i:02d}.wav", f"{kind}-{i:02d}", recording(rng, kind)
            common = {"class": kind, "label": "x", "recording_group": group, "source": "mine"}
            audio.write_pcm(root / "raw" / path, pcm, sr=SR)
            audio.write_pcm(root / "chunks" / path, pcm[:LENGTH], sr=SR)
            facts = {"sr_found": SR, "duration_s": len(pcm) / SR, "sha256": audio.sha256(pcm)}
            recordings.append({"path": path, "upstream": "me", "licence": "CC0-1.0", **common, **facts})
            onset = ONSET if kind == "gun" else -1
            at = {"chunk": f"{path}#0", "path": path, "index": 0, "recording": path, "start": 0, "onset": onset}
            chunks.append({**at, **common})
            sides.append({"recording_group": group, "side": side, "class": kind, "source": "mine"})
    tables.write(root / "raw/mine/recordings.csv", tables.frame(recordings, tables.RECORDING))
    tables.write(root / "chunks/chunks.csv", tables.frame(chunks, tables.CHUNK))
    tables.write(root / "splits.csv", pd.DataFrame(sides))
    pairs = [{"a": "mine/gun/x/02.wav", "b": "mine/gun/x/03.wav", "offset_s": 0.1, "similarity": 0.9}]
    tables.write(root / "pairs.csv", pd.DataFrame([*pairs, pairs[0] | {"b": "mine/gun/gave/no/chunk.wav"}]))
    guns = [r["path"] for r in recordings if r["class"] == "gun"]
    tagged = ["given" if r["class"] == "gun" else "none" for r in recordings]
    tables.write(root / "tagged/recordings.csv", tables.frame(recordings, tables.RECORDING).assign(tagged=tagged))
    tables.write(root / "tagged/rejected.csv", tables.frame([], tables.REJECTED))
    (root / "tagged/tags.csv").write_text("".join(f"{path},{ONSET}\n" for path in guns))
    for side in ("train", "val", "test"):
        rows = [c for c, s in zip(chunks, sides, strict=True) if s["side"] == side]
        tables.write(root / f"features/{side}.csv", tables.frame(rows, tables.CHUNK))
        x = rng.uniform(-70, 10, (len(rows), P.features.n_mels, FRAMES)).astype(np.float32)
        np.save(root / f"features/{side}.npy", x)


def run(root: Path, suite: str) -> dict:
    return validation.validate(suite, [root / name for name in INPUTS[suite]], p=P)


def rewrite(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    changed = change(table)
    tables.write(path, table if changed is None else changed)


def cell(table: str, row: int, column: str, value: str) -> Callable[[Path], None]:
    """Return a poison that overwrites one cell; the first half of the rows are gun."""
    return lambda root: rewrite(root / table, lambda t: t.__setitem__(column, t[column].where(t.index != row, value)))


def wav(path: str, change: Callable[[np.ndarray], np.ndarray], *, sr: int = SR) -> Callable[[Path], None]:
    """Return a poison that changes a wav's samples and leaves its table as it is."""

    def poison(root: Path) -> None:
        pcm, _ = sf.read(root / path, dtype="int16")
        sf.write(root / path, change(pcm), sr, subtype="PCM_16")

    return poison


def recorded(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Return a poison of a recording in data/raw that was so when it was imported: its table agrees."""

    def poison(root: Path) -> None:
        wav(f"raw/{path}", change)(root)
        digest = audio.sha256(audio.read_pcm(root / "raw" / path, sr=SR))
        table = root / "raw/mine/recordings.csv"
        rewrite(table, lambda t: t.__setitem__("sha256", t["sha256"].where(t["path"] != path, digest)))

    return poison


def feature(side: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Return a poison that changes a side's features, in place or to what `change` returns."""

    def poison(root: Path) -> None:
        x = np.load(root / f"features/{side}.npy")
        changed = change(x)
        np.save(root / f"features/{side}.npy", x if changed is None else changed)

    return poison


def truncate(root: Path) -> None:
    path = root / "raw/mine/gun/x/00.wav"
    path.write_bytes(path.read_bytes()[:9000])


def not_audio(root: Path) -> None:
    (root / "raw/mine/gun/x/00.wav").write_text("no wav")


def unlisted(root: Path) -> None:
    audio.write_pcm(root / "raw/mine/new.wav", recording(np.random.default_rng(1), "env"), sr=SR)


def short(root: Path) -> None:
    recorded(GUN, lambda y: y[500:1500])(root)
    cell(RAW, 0, "duration_s", str(1000 / SR))(root)


def listed_twice(root: Path) -> None:
    rewrite(root / "raw/mine/recordings.csv", lambda t: pd.concat([t, t[:1]]))


def duplicate(root: Path) -> None:
    shutil.copy(root / "raw/mine/gun/x/00.wav", root / "raw/mine/gun/x/01.wav")
    recorded("mine/gun/x/01.wav", lambda y: y)(root)


def no_gun(root: Path) -> None:
    shutil.rmtree(root / "raw/mine/gun")
    rewrite(root / "raw/mine/recordings.csv", lambda t: t[t["class"] == "env"])


def two_gun_groups(root: Path) -> None:
    def merge(table: pd.DataFrame) -> None:
        table["recording_group"] = ["gun-0" if i < 10 else "gun-1" if i < 20 else f"env-{i}" for i in table.index]

    rewrite(root / "raw/mine/recordings.csv", merge)


def mostly_env(root: Path) -> None:
    table = pd.read_csv(root / "raw/mine/recordings.csv", dtype=str)
    for i in range(60):
        path = f"mine/env/x/more{i}.wav"
        pcm = recording(np.random.default_rng(100 + i), "env")
        audio.write_pcm(root / "raw" / path, pcm, sr=SR)
        table.loc[len(table)] = dict(table.loc[20]) | {"path": path, "sha256": audio.sha256(pcm)}
    for path in table["path"][3:20]:
        (root / "raw" / path).unlink()
    tables.write(root / "raw/mine/recordings.csv", table.drop(index=range(3, 20)))


def line(cells: str, path: str = GUN) -> Callable[[Path], None]:
    """Return a poison that gives a recording this line in the tag file; '' takes its line away."""

    def poison(root: Path) -> None:
        kept = [line for line in (root / TAGS).read_text().splitlines() if line.split(",")[0] != path]
        (root / TAGS).write_text("\n".join([*kept, *([f"{path},{cells}"] if cells else [])]) + "\n")

    return poison


def many(root: Path) -> None:
    at = audio.read_pcm(root / "raw" / GUN, sr=SR)
    at[1000:] = np.tile(np.r_[np.full(20, 9000), np.zeros(170)], 40)[: len(at) - 1000]  # an impulse every 12 ms
    line(",".join(str(1000 + 190 * i) for i in range(27)))(root)
    audio.write_pcm(root / "raw" / GUN, at, sr=SR)


def automatic(root: Path) -> None:
    rewrite(
        root / "tagged/recordings.csv", lambda t: t.__setitem__("tagged", t["tagged"].replace("given", "automatic"))
    )


def white_noise(root: Path) -> None:
    for i in range(3):
        noise = audio.to_int16(0.1 * np.random.default_rng(i).standard_normal(LENGTH))
        wav(f"chunks/mine/gun/x/0{i}.wav", lambda y, noise=noise: noise)(root)


def two_sides(root: Path) -> None:
    rewrite(root / "splits.csv", lambda t: pd.concat([t, t[:1].assign(side="test")]))


def no_gun_in_test(root: Path) -> None:
    rewrite(root / SPLITS, lambda t: t.__setitem__("side", t["side"].mask(t["recording_group"] > "gun-17", "val")))


def little_training(root: Path) -> None:
    rewrite(root / "splits.csv", lambda t: t.__setitem__("side", ["train", "val", "test", "test"] * (len(t) // 4)))


def same_chunk_on_two_sides(root: Path) -> None:
    train = pd.read_csv(root / "features/train.csv", dtype=str)
    rewrite(root / "features/test.csv", lambda t: pd.concat([train[:1], t[1:]]))


def no_test_features(root: Path) -> None:
    feature("test", lambda x: x[:0])(root)
    rewrite(root / "features/test.csv", lambda t: t[:0])


def same_id_in_a_side(root: Path) -> None:
    rewrite(root / "features/train.csv", lambda t: pd.concat([t[:1], t[:1], t[2:]]))
