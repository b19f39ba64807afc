"""The verifier from what the pipeline has: its examples, its training, and its threshold on validation streams."""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from gunshot.base import params, tables
from gunshot.base.files import SUFFIX, atomic, disk
from gunshot.detect import opinion
from gunshot.models.model import load_model, read_operating_point
from gunshot.studies import examples, opinions

OPERATING = "operating.json"  # the verifier's threshold
STEP = 0.25  # of the detector's mean logit, between thresholds


class Sections(opinion.Sections, Protocol):
    """The sections of params.yaml that a verifier is made by."""

    network: params.Network
    quantize: params.Quantize
    evaluate: params.Evaluate


class Data(NamedTuple):
    """Folders and files of the pipeline: what the verifier is made of."""

    raw: Path
    chunks: Path
    augmented: Path
    splits: Path
    streams: dict[str, Path]  # by side
    network: Path  # .keras, whose trunk it shares
    detector: Path  # int8, behind which it is


def listed(data: Data, side: str) -> list[dict]:
    """Return the files of a side, as `examples.gathered` takes them: recordings, their changed copies, streams."""
    sides = tables.read(data.splits, tables.SPLIT).set_index("recording_group")["side"]
    own, more = (tables.read(folder / "chunks.csv", tables.CHUNK) for folder in (data.chunks, data.augmented))
    own, more = (
        own.assign(file=f"{data.raw}/" + own["recording"]),
        more.assign(file=f"{data.augmented}/" + more["path"]),
    )
    files = [examples.sources(table[table["recording_group"].map(sides) == side]) for table in (own, more)]
    return [*files[0], *files[1], *examples.streams(data.streams[side])]


def make(data: Data, out: Path, p: Sections) -> dict:
    """Write the verifier, int8, with report.json, operating.json and history.csv beside it; return its report.

    All are made in a folder of their own and come into place last, so that an error leaves the verifier of before.

    Raises
    ------
    ValueError
        As for `heard` and for `opinions.threshold`.
    """
    sets = heard(data, p)
    with disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.", suffix=SUFFIX) as folder:
            new = Path(folder, out.name)
            report = _trained(data, sets, new, p) | {"detector_sha256": opinion.sha256(data.detector)}
            tables.write_json(new.with_name("report.json"), report)
            tables.write_json(new.with_name(OPERATING), thresholds(data, new, p))
            _in_place(new, out)
    return report


def _in_place(new: Path, out: Path) -> None:
    """Move a verifier and what is beside it; without OPERATING, which goes first and comes last, none is loaded."""
    out.with_name(OPERATING).unlink(missing_ok=True)
    for name in (new.name, "report.json", "history.csv", OPERATING):
        os.replace(new.with_name(name), out.with_name(name))


def heard(data: Data, p: Sections) -> dict[str, tuple]:
    """Return by side, of train and val, the examples: x, y, 1 for GUN, and their rows.

    Raises
    ------
    ValueError
        A side has no incident of a shot, or none of other sounds; validation streams have no clear shot; or as for
        `examples.beds`.
    """
    lowest, sets = read_operating_point(data.detector)["logit"] - p.verifier.below, {}
    if not (clear := opinions.totals(data.streams["val"])["shots"]):
        raise ValueError(
            f"{data.streams['val']}: clear shots={clear} must be 1 at least, for a threshold; raise streams.shot_hours"
        )
    beds = {side: examples.beds(data.streams[side], p) for side in ("train", "val")}
    for side in beds:
        files = listed(data, side)
        x, rows = examples.gathered(files, data.detector, lowest, beds[side], p)
        y = (rows["class"] == "gun").to_numpy().astype(int)
        shots, others = int(y.sum()), int((y == 0).sum())
        if not (shots and others):
            raise ValueError(
                f"side {side}: shots={shots} and other sounds={others} that the detector lets through of {len(files)} "
                f"files must be 1 at least; raise verifier.below={p.verifier.below:g}, simulate.* or streams.*, or "
                "import recordings"
            )
        sets[side] = x, y, rows
    return sets


def thresholds(data: Data, verifier: Path, p: Sections) -> dict:
    """Return the verifier's threshold, and what it does on validation streams at the detector's operating point.

    It is the highest that costs at most `verifier.max_lost` of the clear shots that the detector finds there, and at
    each threshold down to `verifier.below` under it: some 50 incidents at one threshold alone would leave it to chance.

    ValueError as for `opinions.threshold`.
    """
    point = read_operating_point(data.detector)["logit"]
    logits = [point - each for each in (*np.arange(p.verifier.below, 0, -STEP).tolist(), 0.0)]
    rows, totals = opinions.on_streams(data.streams["val"], data.detector, verifier, logits, p)
    by_logit = {logit: rows[rows["logit"] == logit] for logit in logits}
    chosen = min(opinions.threshold(part, max_lost=p.verifier.max_lost) for part in by_logit.values())
    return {
        "logit": chosen,
        "score": float(load_model(verifier).calibrated(np.float64(chosen))),
        "validation": opinions.figures(by_logit[point], totals, opinion=chosen),
    }


def _trained(data: Data, sets: dict[str, tuple], out: Path, p: Sections) -> dict:
    """Train on the sets by side, write the artifact and its history, and return its report."""
    from gunshot.models.network import network  # TensorFlow, which the examples need not wait for
    from gunshot.models.network import training as shared
    from gunshot.models.verifier import training

    (x, y, rows), (*val, _) = sets["train"], sets["val"]
    own, rng = training.as_network(p.network, p.verifier), np.random.default_rng(p.verifier.seed)
    options = {"label": shared.labels(rows), "chance": shared.chances(rows, own.real_share)}
    net = network.load(data.network)
    verifier, history = training.train(net, (x, y), val, rng, own, variants=p.verifier.variants, **options)
    artifact = training.converted(verifier, x[np.sort(rng.permutation(len(x))[: p.quantize.representative])])
    with atomic(out) as part:
        part.write_bytes(artifact)
    epochs = {"epoch": range(1, own.epochs + 1)}
    tables.write(out.with_name("history.csv"), pd.DataFrame(epochs | history))
    return training.stated(artifact, verifier, val, min_recall=p.evaluate.min_recall)
