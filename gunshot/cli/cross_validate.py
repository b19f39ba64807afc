"""gunshot cross-validate, gunshot leave-one-out: networks on real recordings that they were not trained on."""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from gunshot.base import params, pipeline, tables
from gunshot.cli.app import app

OutOption = Annotated[Path | None, typer.Option(help="Default: a .json of the command's name beside the reports.")]


@app.command()
def cross_validate(
    folds: Annotated[int, typer.Option(help="Parts of the real recording groups; each is tested once.", min=3)] = 4,
    out: OutOption = None,
) -> None:
    """Measure false alarms an hour and recall on all real recordings, each by a network that never heard its group.

    Import real recordings and run `dvc repro` first. Each turn trains on simulated chunks and on the real ones of the
    other folds (repeated to network.real_share), quantizes to int8, chooses its threshold on simulated validation
    streams and on the next fold's real ones, and is tested on its own fold's. Hours count each recording once.
    """
    from tqdm import tqdm

    from gunshot.alarms import summary
    from gunshot.studies import cross_validation

    p = params.load("audio", "chunks", "features", "detector", "network", "quantize", "evaluate", "streams", "simulate")
    corpus, recordings, onsets = _corpus()
    fold = cross_validation.folds(
        recordings.assign(y=(recordings["class"] == "gun").astype(int)), folds, p.streams.seed
    )
    turns, points, raw = [], [], pipeline.raw()
    with tempfile.TemporaryDirectory() as name:
        for turn in tqdm(range(folds), desc="cross-validate", unit="fold"):
            work = Path(name, str(turn))
            held = corpus.table["recording_group"].map(fold).isin([turn, (turn + 1) % folds]).to_numpy()
            cross_validation.streams_of(fold, turn, folds, recordings, onsets, raw, work, p)
            known = recordings[~recordings["recording_group"].map(fold).isin([turn, (turn + 1) % folds])]
            model = cross_validation.train(corpus, held, _pool(known, p), p.network.seed, p, work)
            point = cross_validation.validate(
                model, {pipeline.output("streams_val"): "simulated", work / "val": "real"}, p
            )
            points.append(point)
            turns.append(cross_validation.measure(model, work / "test", point["logit"], p))
    made = cross_validation.pooled(turns, limit=p.detector.max_fa_per_hour, sr=p.audio.sr)
    found = made["figures"]["real"]["int8"]
    out = out or pipeline.output("evaluate").parent / "cross_validation.json"
    causes = made["tables"]["causes"].drop(columns="model").astype(object)
    causes = causes.where(causes.notna(), None).to_dict("records")  # JSON has no NaN
    curve = made["tables"]["det"][["logit", "fa_per_hour", "recall"]].to_dict("records")
    tables.write_json(out, found | {"folds": folds, "operating": points, "causes": causes, "det": curve})
    print(made["tables"]["causes"].head(20).to_string(index=False), end="\n\n")
    print(f"int8, {folds} folds: {summary.told(found)}; see {out}")


@app.command()
def leave_one_out(out: OutOption = None) -> None:
    """Measure networks on the shots of upstream sources that they were never trained on, file by file.

    Import real recordings and run `dvc repro` first. Each turn leaves one source out, those with few groups of shots
    together, and a quarter of the environment groups of all others; the files of the source's shots are compared with
    these environment files, in which no network was trained.
    """
    import pandas as pd
    from tqdm import tqdm

    from gunshot.studies import cross_validation

    p = params.load(
        "audio", "features", "detector", "network", "quantize", "evaluate", "streams", "quality", "chunks", "tags"
    )
    corpus, recordings, _ = _corpus()
    raw, rng, rows = pipeline.raw(), np.random.default_rng(0), []
    fold = cross_validation.folds(recordings.assign(y=(recordings["class"] == "gun").astype(int)), 4, p.streams.seed)
    spared = recordings["recording_group"].map(fold).eq(0) & recordings["class"].eq("env")
    out = out or pipeline.output("evaluate").parent / "leave_one_out.json"
    with tempfile.TemporaryDirectory() as name:
        turns = cross_validation.sources(recordings.assign(y=(recordings["class"] == "gun").astype(int)))
        for number, (title, names) in enumerate(tqdm(turns.items(), desc="leave-one-out", unit="source")):
            own = recordings["upstream"].isin(names)
            gone = set(recordings.loc[own | spared, "recording_group"])
            held = corpus.table["recording_group"].isin(gone).to_numpy()
            known = recordings[~recordings["recording_group"].isin(gone)]
            model = cross_validation.train(corpus, held, _pool(known, p), p.network.seed, p, Path(name, str(number)))
            tested = recordings[(own & recordings["class"].eq("gun")) | spared]
            keys = ["path", "class", "label", "recording_group", "source", "upstream"]
            listed = [row | {"file": raw / row["path"]} for row in tested[keys].to_dict("records")]
            found = cross_validation.by_source(cross_validation.score_files(listed, model, p), names, rng)
            rows += [row | {"left_out": title} for row in found]
            tables.write_json(out, rows)
    print(pd.DataFrame(rows).round(3).to_string(index=False), f"\n\nsee {out}")


def _corpus():
    """Return the chunks, the real recordings (columns RECORDING) and their onsets in samples, by recording."""
    import pandas as pd

    from gunshot import tags
    from gunshot.studies import cross_validation

    folder = pipeline.output("featurize")
    sides = {side: tables.features(folder, side) for side in ("train", "val", "test")}
    made = {side: (table["source"] == "simulated").to_numpy() for side, (_, _, table) in sides.items()}
    own = {side: ~made[side] & ~table["chunk"].str.contains("~").to_numpy() for side, (_, _, table) in sides.items()}
    if not any(which.any() for which in own.values()):
        raise ValueError(f"{folder}: must hold real chunks; import recordings with `gunshot import`, then `dvc repro`")
    tagged = pipeline.output("tag")
    recordings = tables.read(tagged / "recordings.csv", tables.RECORDING)
    table = pd.concat([table[own[side]].assign(y=y[own[side]]) for side, (_, y, table) in sides.items()])
    corpus = cross_validation.Corpus(
        np.concatenate([x[own[side]] for side, (x, _, _) in sides.items()]),
        table.reset_index(drop=True),
        *(sides["train"][i][made["train"]] for i in (0, 1)),
        *(sides["val"][i][made["val"]] for i in (0, 1)),
    )
    onsets = {name: [tag.start for tag in found] for name, found in tags.read(tagged / "tags.csv")[0].items()}
    return corpus, recordings[recordings["source"] != "simulated"].reset_index(drop=True), onsets


def _pool(known, p) -> list[np.ndarray]:
    """Return log-mels in which hard negatives are sought: simulated training streams, and known real environment."""
    from gunshot import features

    if not p.network.hard_share:
        return []
    made = sorted((pipeline.output("streams_train") / "simulated").rglob("*.wav"))
    real = [pipeline.raw() / path for path in known.loc[known["class"] == "env", "path"]]
    kept = {"sr": p.audio.sr, "min_length": p.audio.chunk_length, **p.features.model_dump()}
    return [features.of_file(path, **kept) for path in [*made, *real]]
