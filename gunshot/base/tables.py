"""The tables that stages hand each other: their columns, written atomically as CSV."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gunshot.base.files import atomic

if TYPE_CHECKING:  # half a second to import, which `gunshot detect` need not wait
    import pandas as pd

SIDES = ("train", "val", "test")
ORIGINS = ("simulated", "real")
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
IMPORTED = RECORDING | {
    "decoder": str,  # and its version; empty of what was imported before this was noted
    "warnings": str,  # what was amiss with the file, and imported all the same
}
CHUNK = {
    "chunk": str,  # RECORDING#START, and ~COPY behind that when augmented
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
COPY = r"~\d+$"  # how an augmented chunk's id ends; another one's ends in #START, whatever its recording's name
SPLIT = {"recording_group": str, "side": str, "class": str, "source": str}
# Of the simulated corpus, shots.csv and events.csv.
CORPUS_SHOT = {
    "path": str,
    "onset": int,  # samples: the first of the two that follow
    "shock": int,  # samples; -1 where no shock wave passes the microphone
    "blast": int,  # samples
    "heard": bool,  # it rises from what sounds before it, earlier shots among it; only then it is tagged
    "weapon": str,
    "pattern": str,
    "suppressed": bool,
    "distance_m": float,
    "angle_deg": float,  # between the line of fire and the microphone
    "place": str,
    "scene": str,
    "temperature_c": float,
    "humidity": float,  # percent
    "peak_db_spl": float,  # of this shot at the microphone, dB re 20 uPa
    "snr_db": float,  # of the 250 ms from the onset, tails of earlier shots among it, over the recording's whole bed
}
CORPUS_EVENT = {
    "path": str,
    "start": int,  # samples: the first arrival
    "stop": int,  # samples: where the next one starts, after 10 ms at least, or the recording ends
    "label": str,  # of an event its kind, of a bed what sounds in it
    "kind": str,  # event or bed
    "distance_m": float,  # 0 at the microphone itself, and of a bed
    "place": str,
    "scene": str,
    "temperature_c": float,
    "humidity": float,  # percent
    "level_db": float,  # of an event its peak from start to stop, of a bed its RMS, dB SPL
    "snr_db": float,  # of an event its loudest 10 ms over the RMS of the bed in the second around it; of a bed 0
}
# Of streams: streams.csv, shots.csv, events.csv.
STREAM = {
    "path": str,  # below the folder of streams
    "side": str,
    "origin": str,  # simulated or real
    "kind": str,  # quiet or shots
    "index": int,  # of its side, origin and kind
    "place": str,  # empty where real, and so the scene
    "scene": str,
    "duration_s": float,
    "unique_s": float,  # in which source material sounds that no earlier stream of its side, origin and kind holds
    "full_scale_db_spl": float,  # what overloads the device; -1 where real
    "gain_control": bool,
    "recording_group": str,
}
STREAM_SHOT = {
    "path": str,
    "onset": int,  # samples: the first of the two that follow
    "shock": int,  # samples; -1 where none passes the microphone, or where it is not known
    "blast": int,  # samples
    "firing": int,  # its number in the stream
    "weapon": str,  # where real the recording's label
    "pattern": str,  # empty where real
    "suppressed": bool,
    "distance_m": float,  # -1 where real, and so the angle
    "angle_deg": float,
    "scene": str,
    "place": str,
    "peak_db_spl": float,  # of this shot at the microphone; -1 where real
    "peak_snr_db": float,  # see gunshot.simulate.levels; all else is bed and events, and at least the device's noise
    "heard": bool,  # it rises from what sounds before it, earlier shots among it
    "recording": str,  # empty where simulated
    "recording_group": str,
}
STREAM_EVENT = {
    "path": str,
    "start": int,  # samples
    "stop": int,
    "label": str,  # of an event its kind, of a bed what sounds in it, of a real recording its label
    "kind": str,  # event or bed
    "distance_m": float,  # 0 at the microphone itself, -1 where real
    "level_db": float,  # of an event its peak, of a bed its RMS, dB SPL; where real the peak, dB re full scale
    "snr_db": float,  # of an event its loudest 10 ms over the RMS of the bed in the second around it; of a bed 0
    "recording": str,  # empty where simulated
    "source_start": int,  # the sample of the recording from which it was laid; -1 where simulated
    "recording_group": str,
}
STREAM_TABLES = {"shots.csv": STREAM_SHOT, "events.csv": STREAM_EVENT, "streams.csv": STREAM}
PART = 100_000  # rows of a table that are read at once where it may be long
REJECTED = {"file": str, "value": str, "rule": str}
NO_AUDIO = "no audio"  # a rejected row's value: a file that lies among recordings, and counts for nothing


class RejectedError(ValueError):
    """More was rejected than the limit allows."""


def write(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    write_parts(path, [table])


def write_parts(path: Path | str, tables: Iterable[pd.DataFrame]) -> int:
    """Write tables of the same columns as one, as `write` does; return how many rows they have."""
    rows = 0
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for i, table in enumerate(tables):
            table.to_csv(file, index=False, lineterminator="\n", header=not i)
            rows += len(table)
    return rows


def read(path: Path | str, columns: dict[str, type]) -> pd.DataFrame:
    """Return the CSV at `path`, its columns checked and typed; ValueError names what is missing."""
    (table,) = _parsed(path, columns)
    return _typed(path, table, columns)


def parts(path: Path | str, columns: dict[str, type]) -> Iterator[pd.DataFrame]:
    """Yield the CSV at `path` in parts of PART rows, one at least: these columns alone; ValueError as for `read`."""
    for part in _parsed(path, columns, chunksize=PART):  # not usecols, which would drop what a line has too much
        yield _typed(path, part, columns)[list(columns)]


def chunks(path: Path | str, columns: Collection[str]) -> pd.DataFrame:
    """Return a table of chunks, which may be long, with these columns of CHUNK alone; ValueError as for `read`."""
    import pandas as pd

    return pd.concat(parts(path, {name: CHUNK[name] for name in CHUNK if name in columns}), ignore_index=True)


def by_file(path: Path | str, raw: Path, augmented: Path) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Yield the files that chunks of a table are cut from: recordings below `raw`, and copies below `augmented`.

    With each go the starts of its chunks, samples, and their rows in the table, int64 [shape=(n,)] both. PART rows are
    in memory at a time; a file whose rows are in two parts comes twice.
    """
    for part in parts(path, CHUNK):
        files = f"{raw}/" + part["recording"]
        files = files.mask(part["chunk"].str.contains(COPY), f"{augmented}/" + part["path"])
        for file, rows in part.groupby(files, sort=False).groups.items():
            yield Path(file), part["start"][rows].to_numpy(), rows.to_numpy()


def _parsed(path: Path | str, columns: dict[str, type], **how) -> Iterator[pd.DataFrame]:
    import pandas as pd

    try:
        with pd.read_csv(path, dtype=str, keep_default_na=False, iterator=True, **how) as tables:
            yield from tables
    except ValueError as e:
        raise ValueError(f"{path}: must be a CSV in UTF-8 with columns {list(columns)}: {str(e).strip()}") from None


def _typed(path: Path | str, table: pd.DataFrame, columns: dict[str, type]) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift the cells
        raise ValueError(f"{path}: its lines have more cells than its first names, commas at their ends for one")
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
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)


def recordings(raw: Path) -> pd.DataFrame:
    """Return all corpora's tables of recordings below `raw` as one, sorted by path."""
    import pandas as pd

    paths = sorted(raw.glob("*/recordings.csv"))
    if not paths:
        raise ValueError(f"{raw}: holds no */recordings.csv; use `gunshot import` or the stage simulate")
    table = pd.concat([read(path, RECORDING)[list(RECORDING)] for path in paths], ignore_index=True)
    return table.sort_values("path", ignore_index=True)


def check_rejected(rejected: pd.DataFrame, total: int, *, limit: float, where: Path | str) -> None:
    """Raise RejectedError where more than the share `limit` of `total` was rejected; NO_AUDIO counts for nothing."""
    total -= int((rejected["value"] == NO_AUDIO).sum())
    rejected = rejected[rejected["value"] != NO_AUDIO]
    if len(rejected) > limit * total:
        first = "\n".join(f"  {r.file}: {r.value}: {r.rule}" for r in rejected.head(10).itertuples())
        raise RejectedError(
            f"{len(rejected)} of {total} rejected, more than quality.max_rejected={limit:g} allows; "
            f"all are listed in {where}, the first are:\n{first}"
        )


def features(folder: Path, side: str, columns: Iterable[str] = CHUNK) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return a side's features, memory-mapped [shape=(n, n_mels, frames)], y (1 GUN) and its table.

    The table has these `columns` of CHUNK, and the class.
    """
    table = chunks(folder / f"{side}.csv", {"class", *columns})
    x = np.load(folder / f"{side}.npy", mmap_mode="r")
    if len(x) != len(table):
        raise ValueError(f"{folder / side}.npy holds {len(x)} features, its table {len(table)} rows; they must agree")
    return x, (table["class"] == "gun").to_numpy().astype(int), table


@contextmanager
def array(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Give an array to be filled, float32, memory-mapped: the file is there, whole, when the block ends."""
    with atomic(path) as part:
        filled = np.lib.format.open_memmap(part, "w+", np.float32, shape)
        yield filled
        filled.flush()


def write_json(path: Path | str, content: dict | list) -> None:
    """Write JSON, whole or not at all."""
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> dict:
    """Return what `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
