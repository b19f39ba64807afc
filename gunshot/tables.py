"""The tables that stages hand each other: their columns, written atomically as CSV."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot import audio

RECORDING = {
    "path": str,  # below data/raw
    "class": str,  # gun or env
    "label": str,
    "recording_group": str,
    "source": str,  # where these files were got
    "upstream": str,  # who recorded or first published them
    "licence": str,
    "sr_found": int,  # Hz, before resampling
    "duration_s": float,
    "sha256": str,  # of the PCM
}
CHUNK = {
    "chunk": str,  # RECORDING#START, and ~COPY when augmented
    "path": str,  # the packed wav that holds it
    "index": int,  # its place there
    "recording": str,
    "start": int,  # in samples of the recording
    "onset": int,  # the tagged shot, in samples of the chunk; -1 where there is none
    "class": str,
    "label": str,
    "recording_group": str,
    "source": str,
}
REJECTED = {"file": str, "value": str, "rule": str}


class RejectedError(ValueError):
    """More was rejected than the limit allows."""


def write(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with audio.atomic(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def read(path: Path | str, columns: dict[str, type]) -> pd.DataFrame:
    """Return the CSV at `path`, its columns checked and typed; ValueError names what is missing."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as e:
        raise ValueError(f"{path}: must be a CSV in UTF-8 with columns {list(columns)}: {str(e).strip()}") from None
    if missing := [c for c in columns if c not in table]:
        raise ValueError(f"{path}: columns {missing} are missing; it must have {list(columns)}")
    for name, kind in columns.items():
        try:
            table[name] = _flags(table[name]) if kind is bool else table[name].astype(kind)
        except ValueError as e:
            raise ValueError(f"{path}: column {name!r} must hold {kind.__name__}: {e}") from None
    return table


def _flags(column: pd.Series) -> pd.Series:
    if not column.isin(["True", "False"]).all():
        raise ValueError(f"{column[~column.isin(['True', 'False'])].iloc[0]!r} is neither True nor False")
    return column == "True"


def frame(rows: Iterable[dict], columns: dict[str, type]) -> pd.DataFrame:
    """Return rows as a table with exactly these columns, also when there is no row."""
    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)


def recordings(raw: Path) -> pd.DataFrame:
    """Return all corpora's tables of recordings below `raw` as one, sorted by path."""
    found = sorted(raw.glob("*/recordings.csv"))
    if not found:
        raise ValueError(f"{raw}: holds no */recordings.csv; use `gunshot import` or the stage simulate")
    table = pd.concat([read(path, RECORDING) for path in found], ignore_index=True)
    return table.sort_values("path", ignore_index=True)


def check_rejected(rejected: pd.DataFrame, total: int, *, limit: float, where: Path | str) -> None:
    """Raise RejectedError where more than the share `limit` of `total` was rejected."""
    if len(rejected) > limit * total:
        first = "\n".join(f"  {r.file}: {r.value}: {r.rule}" for r in rejected.head(10).itertuples())
        raise RejectedError(
            f"{len(rejected)} of {total} rejected, more than quality.max_rejected={limit:g} allows; "
            f"all are listed in {where}, the first are:\n{first}"
        )


def features(folder: Path, side: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return a side's features, memory-mapped [shape=(n, n_mels, frames)], y (1 GUN) and its rows of CHUNK."""
    table = read(folder / f"{side}.csv", CHUNK)
    x = np.load(folder / f"{side}.npy", mmap_mode="r")
    if len(x) != len(table):
        raise ValueError(f"{folder / side}.npy holds {len(x)} features, its table {len(table)} rows; they must agree")
    return x, (table["class"] == "gun").to_numpy().astype(int), table


def write_json(path: Path | str, content: dict | list) -> None:
    """Write JSON, whole or not at all."""
    with audio.atomic(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> dict:
    """Return what `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
