"""A promoted model as one folder, models/promoted/VERSION/: made from registry and DVC, no source of its own."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import jinja2
import numpy as np
import pandas as pd
import yaml

from gunshot.base import pipeline, tables
from gunshot.models.network import quantize
from gunshot.promotion import evidence, ota, registry
from gunshot.promotion.repository import Repository
from gunshot.signing import record

FOLDER = Path("models/promoted")
MANIFEST, REFERENCE = "manifest.json", "reference.csv"
KEY = f"firmware/{ota.HEADER}"
GOLDEN = 48  # windows: some dozens
RENDER = jinja2.Environment(
    loader=jinja2.PackageLoader("gunshot.promotion", ""),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


class Chosen(NamedTuple):
    """A model that leaves the project: its .tflite, the C of the stage export, its card; version is None of a draft."""

    model: Path
    generated: Path
    card: str
    version: str | None


def chosen(version: str | None = None) -> Chosen:
    """Return a promoted version, or without one that in production; before the first promotion the tree's own model.

    Errors are those of `export` and `draft`.
    """
    if version or registry.champion(record.read()):
        folder = export(version)
        card = (folder / "card.md").read_text(encoding="utf-8")
        return Chosen(folder / "model.tflite", folder / "firmware", card, folder.name.removeprefix("v"))
    return Chosen(pipeline.models()["int8"], pipeline.output("export"), draft(), None)


def export(version: str | None = None, *, root: Path = Path()) -> Path:
    """Write the folder of a version, whole or not at all, and return it; without a version, that in production.

    It holds the .tflite, report.json (int8 against float), operating.json and reference.csv, against which drift is
    measured; firmware/ (what the stage export made of it, and ota_key.h of `ota.header`); golden.npz (``input`` codes
    int8 [shape=(n, n_mels, frames)], ``output`` codes of TFLM's interpreter [shape=(n, 2)]); card.md; and manifest.json
    with the SHA-256 of each. ValueError where there is no such version or DVC gives other bytes than the record says.
    """
    entries = record.read(root)
    if faults := list(record.faults(root)):
        raise ValueError("; ".join(faults))
    known = {e["version"]: e for e in entries if e["event"] == "promoted"}
    version = version or (registry.champion(entries) or {}).get("version")
    if not known:
        raise ValueError("nothing was promoted yet: approve a candidate first, see DOC/review.md")
    if version not in known:
        raise ValueError(f"version={version} must be a promoted one: {', '.join(known)}")
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as part:
        filled = Path(part, version)
        filled.mkdir()
        _fill(filled, known[version], root)
        periods = [p["entry"] for p in registry.production(entries) if p["version"] == version]
        # of the line that put it there last, as `ota.manifest` numbers images
        (filled / KEY).write_text(ota.header([known[version], *periods][-1], root=root))
        _seal(filled, known[version])
        shutil.rmtree(folder / version, ignore_errors=True)
        os.replace(filled, folder / version)
    return folder / version


def fetch(commit: str, out: Path, *, root: Path = Path()) -> Path:
    """Write the int8 model of a commit to `out`, which is made, as its tree has it, and return the .tflite there.

    Beside it are report.json and operating.json, and in firmware/ what the stage export made of it. ValueError where
    there is no such commit, or neither DVC's cache nor its remote has these files.
    """
    repo, model = Repository(root), pipeline.models(root=root)["int8"].relative_to(root)
    commit = repo.commit(commit)
    out.mkdir(parents=True)
    (out / model.name).write_bytes(repo.artifact(commit, model))
    for name in ("report.json", "operating.json"):
        (out / name).write_bytes(repo.show(commit, model.with_name(name)))
    repo.data(commit, pipeline.output("export", root=root).relative_to(root), out / "firmware")
    return out / model.name


def _fill(out: Path, entry: dict, root: Path) -> None:
    repo, commit = Repository(root), entry["commit"]
    model = registry.content(entry, root=root)
    (out / Path(entry["model"]).name).write_bytes(model)
    for name in entry["files"]:
        if name != entry["model"]:
            (out / Path(name).name).write_bytes(repo.show(commit, Path(name)))
    (out / REFERENCE).write_bytes(repo.artifact(commit, pipeline.output("reference", root=root).relative_to(root)))
    repo.data(commit, pipeline.output("export", root=root).relative_to(root), out / "firmware")
    features = pipeline.output("featurize", root=root).relative_to(root)
    with tempfile.TemporaryDirectory() as folder:
        x = np.load(repo.data(commit, features / "val.npy", Path(folder, "val.npy")))
        x = x[np.unique(np.linspace(0, len(x) - 1, GOLDEN).astype(int))]
        tflm = quantize.Tflm(model)
        codes = tflm.codes(x)
        np.savez(out / "golden.npz", input=codes, output=tflm.outputs(codes))
        sources = _sources(repo, commit, Path(folder))
    (out / "card.md").write_text(_card(entry, repo, sources), encoding="utf-8")


def _seal(out: Path, entry: dict) -> None:
    files = {name: registry.sha256(path.read_bytes()) for name, path in _files(out).items()}
    stated = ("artifact", "version", "commit", "data", "dossier", "number")
    tables.write_json(out / MANIFEST, {name: entry[name] for name in stated} | {"files": files})


def _files(folder: Path) -> dict[str, Path]:
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    files.pop(MANIFEST, None)
    return files


def _sources(repo: Repository, commit: str, folder: Path) -> list[dict]:
    """Return source, upstream, licence and number of recordings of all corpora that the commit's data/raw holds."""
    raw = pipeline.raw(root=repo.root).relative_to(repo.root)
    stages = yaml.safe_load(repo.show(commit, Path("dvc.yaml")))["stages"]
    outs = [
        out if isinstance(out, str) else next(iter(out)) for stage in stages.values() for out in stage.get("outs", [])
    ]
    names = [PurePosixPath(out).name for out in outs if PurePosixPath(out).parent == PurePosixPath(raw)]
    added = repo.git("ls-tree", "--name-only", commit, f"{raw.as_posix()}/").decode().split("\n")
    names += [PurePosixPath(path).stem for path in added if path.endswith(".dvc")]
    parts = [
        tables.read(repo.data(commit, raw / name / "recordings.csv", folder / f"{name}.csv"), tables.RECORDING)
        for name in names
    ]
    keys = ["source", "upstream", "licence"]
    return pd.concat(parts).groupby(keys).size().reset_index(name="recordings").to_dict("records")


def _card(entry: dict, repo: Repository, sources: list[dict]) -> str:
    figures = _figures(lambda path: repo.show(entry["commit"], path), Path(entry["model"]), repo.root)
    return RENDER.get_template("card.md.j2").render(entry=entry, sources=sources, **figures)


def draft(root: Path = Path()) -> str:
    """Return the model card of the tree's own int8 model, which nobody promoted: figures, and no decision.

    ValueError where the tables are not there that say what it learned from, and by which licences.
    """
    model = pipeline.models(root=root)["int8"]
    try:
        sources = evidence.sources(root)
    except FileNotFoundError as e:
        raise ValueError(
            f"{e.filename}: no such file, and a model card lists what its model learned from: `dvc pull group split` "
            "brings it, `dvc repro split` makes it"
        ) from None
    figures = _figures(lambda path: (root / path).read_bytes(), model.relative_to(root), root)
    return RENDER.get_template("draft.md.j2").render(
        sha256=registry.sha256(model.read_bytes()), sources=sources, **figures
    )


def _figures(read: Callable[[Path], bytes], model: Path, root: Path) -> dict:
    """Return what a card says of a model, given what reads a file of its tree."""
    streams = json.loads(read(pipeline.metrics("score_streams", root=root)))
    report, operating = (json.loads(read(model.with_name(f"{name}.json"))) for name in ("report", "operating"))
    int8 = {
        where: figures[registry.ARTIFACT]
        for where, figures in streams.items()
        if isinstance(figures, dict) and registry.ARTIFACT in figures and "hours" in figures[registry.ARTIFACT]
    }
    return {"report": report, "operating": operating, "streams": int8}


def faults(entries: list[dict], root: Path = Path()) -> Iterator[str]:
    """Yield what was altered in exported folders."""
    known = {e["version"]: e for e in entries if e["event"] == "promoted"}
    for folder in sorted(path for path in (root / FOLDER).glob("[!.]*") if path.is_dir()):
        if folder.name not in known:
            yield f"{folder}: was never promoted"
            continue
        try:
            stated = tables.read_json(folder / MANIFEST)
        except (OSError, ValueError):
            yield f"{folder / MANIFEST}: cannot be read; `gunshot export promoted {folder.name}` makes it anew"
            continue
        hashes = {name: registry.sha256(path.read_bytes()) for name, path in _files(folder).items()}
        keys = {registry.sha256(ota.header(e, root=root).encode()) for e in entries if e["version"] == folder.name}
        entry = known[folder.name]
        recorded = {Path(name).name: sha256 for name, sha256 in entry["files"].items()}
        for name in sorted({*hashes, *stated.get("files", {}), *recorded, KEY}):
            same = hashes.get(name) == stated["files"].get(name) == recorded.get(name, hashes.get(name))
            if not same or (name == KEY and hashes.get(name) not in keys):
                yield f"{folder / name}: was altered; `gunshot export promoted {folder.name}` makes it anew"
