"""A batch of recordings beside what a model was trained on: what is measured, judged and written."""

import hashlib
import os
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from gunshot import validation
from gunshot.base import params, tables
from gunshot.corpora import sources
from gunshot.field import drift

TAGS = "tags.csv"
OWN = (TAGS, "scores.csv")  # in data/field, of `gunshot annotate`
SHOWN = 10  # rejected recordings that are printed; all are in rejected.csv


class Sections(drift.Sections, Protocol):
    """The sections of params.yaml that drift is judged by."""

    quality: params.Quality
    validation: params.Validation
    monitor: params.Monitor


def judge(root: Path, out: Path, p: Sections, *, version: str, model: Path, reference: Path) -> tuple[dict, list[str]]:
    """Return the verdict on the recordings below `root`, and lines on what is amiss with them; write both to `out`.

    Parameters
    ----------
    version, model, reference : the name of the model that measures, its file, and the table of what it was trained on

    Raises
    ------
    FileNotFoundError
        There is no reference.
    ValueError
        There are recordings, and none of them can be measured.
    """
    trained_on = _reference(reference)
    names, bad = sources.walk(root, ".") if root.is_dir() else ([], [])
    names = [name for name in names if name not in OWN]
    names, beside = sources.without_sidecars(names, str, root.joinpath)
    bad += beside
    what = {"model": version, "batch": _digest(root, names)}
    facts, batch = _measured({name: root / name for name in names}, model, p)
    bad += [sources.rejected(row["file"], *row["problem"].rsplit(": ", 1)) for row in facts if row["problem"]]
    listed = tables.frame(bad, tables.REJECTED)
    tables.write(out / "rejected.csv", listed)
    rejected = listed[listed["value"] != tables.NO_AUDIO]
    remarks = [f"warning: {row['file']}: {w}" for row in facts for w in row.get("warnings", [])]
    remarks += [f"rejected: {row.file}: {row.value}: {row.rule}" for row in rejected.head(SHOWN).itertuples()]
    remarks += [f"{len(rejected)} rejected, see {out / 'rejected.csv'}"] if len(rejected) else []
    if not names:
        verdict = {
            "drift": False,
            "reason": f"no recordings in {root}",
            "recordings": 0,
            "rejected": len(rejected),
        } | what
        tables.write_json(out / "verdict.json", verdict)
        return verdict, remarks
    valid = validation.field(tables.frame(facts, drift.FACTS), p=p)
    tables.write_json(out / "validation.json", valid)
    remarks.append(validation.report(valid))
    if not valid["success"]:
        raise ValueError(f"{root}: no recording can be measured; {len(listed)} are listed in {out / 'rejected.csv'}")
    m, n = p.monitor, drift.effective(batch["recording"])
    rng = np.random.default_rng(m.seed)
    limits = drift.thresholds(trained_on, n=n, least=m.min_distance, share=m.min_share, rng=rng)
    compared = drift.snapshot(trained_on, batch, limits)
    verdict = drift.judge(compared, trained_on, batch, share=m.min_share) | {"rejected": len(rejected)} | what
    drift.save(compared, out, verdict, name=root.as_posix())
    tables.write_json(out / "verdict.json", verdict)
    return verdict, remarks


def _digest(root: Path, names: list[str]) -> str:
    """Return the SHA-256 of a batch: its recordings' names, sizes and bytes, and what a person confirmed of them."""
    digest = hashlib.sha256()
    for name in [*names, *([TAGS] if (root / TAGS).exists() else [])]:
        try:
            with (root / name).open("rb") as f:
                content = f"{os.fstat(f.fileno()).st_size} {hashlib.file_digest(f, 'sha256').hexdigest()}"
        except OSError as error:  # it is listed as rejected
            content = error.strerror
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def _reference(path: Path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; make it with `dvc repro reference` or get it with `dvc pull`")
    return tables.read(path, drift.REFERENCE)


def _measured(listed: dict[str, Path], model: Path, p: Sections):
    """Return the facts of all recordings and the table of their chunks."""
    described = drift.of_recordings(listed, model, p, workers=os.cpu_count() or 1)
    facts, names, values = [], [], [np.empty((0, len(drift.COLUMNS)), np.float32)]
    for row, measured in tqdm(described, total=len(listed), desc="drift", unit="recording", disable=None):
        facts.append(row)
        names += [row["file"]] * len(measured)
        values.append(measured)
    return facts, drift.frame(names, np.concatenate(values))
