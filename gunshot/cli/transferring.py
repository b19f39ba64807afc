"""gunshot sim-to-real: what a model trained on simulation alone is worth on real recordings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot import params, pipeline, tables
from gunshot.cli.app import app

WORST = 20


class Half(StrEnum):
    """Which recording groups are scored."""

    open = "open"
    sealed = "sealed"


@app.command()
def sim_to_real(
    path: Annotated[
        list[Path], typer.Argument(exists=True, file_okay=False, help="Labelled recordings; folders of any layout.")
    ],
    half: Annotated[Half, typer.Option(help="sealed: once, at the end; whoever looks at failures tunes.")] = Half.open,
    out: Annotated[Path | None, typer.Option(help="Default: sim_to_real.json beside the reports.")] = None,
    model: Annotated[str, typer.Option(help="int8 or float, as dvc.yaml names them.")] = "int8",
) -> None:
    """Measure a model that was trained on simulation alone on real recordings.

    Train it first: `dvc exp run -S simulate.preset=full quantize`, with no imported corpus in data/raw. Per file (its
    highest window's score), averaged over labels and upstream sources: AUC, and recall where 5 % of the environment
    files alarm, with 95 % intervals by recording group. Half of the groups, by hash, is sealed.
    """
    import numpy as np
    import pandas as pd
    from tqdm import tqdm

    from gunshot import corpora, evaluation

    p = params.load("audio", "features", "detector", "chunks", "tags", "evaluate", "quality")
    for side in ("train", "val"):
        table = tables.read(pipeline.output("featurize") / f"{side}.csv", tables.CHUNK)
        if real := sorted(set(table["source"]) - {"simulated"}):
            raise ValueError(f"data/features/{side}.csv: sources={real} must be simulated alone; remove these corpora")
    sources, rejected = [], []
    for folder in path:
        found, bad = corpora.layouts[corpora.detect(folder)](folder)
        sources += found
        rejected += bad
    keys = ("path", "label", "recording_group", "source", "upstream", "file")
    listed = [{**{key: getattr(s, key) for key in keys}, "class": s.class_} for s in sources]
    if half == Half.open:
        listed = [row for row in listed if not evaluation.sealed(row["recording_group"])]
    scored, files = evaluation.score_files(listed, {"score": pipeline.models()[model]}, p), []
    for _, file, bad in tqdm(scored, total=len(listed), desc="sim-to-real", unit="file"):
        files += [file] if file else []
        rejected += bad
    tables.check_rejected(
        tables.frame(rejected, tables.REJECTED), len(listed), limit=p.quality.max_rejected, where="this message"
    )
    table = pd.DataFrame(files)
    shut = table["recording_group"].map(evaluation.sealed)
    figures = {
        name: evaluation.transfer(part, np.random.default_rng(0)) | {"half": name, "worst": _worst(part)}
        for name, part in (("open", table[~shut]), ("sealed", table[shut]))
        if len(part)
    }
    content = figures[half] | ({"open": figures["open"]} if half == Half.sealed else {})
    out = out or pipeline.output("evaluate").parent / "sim_to_real.json"
    tables.write_json(out, content)
    for name in ("by_source", "by_label"):
        print(pd.DataFrame(content[name]).T.sort_values("auc").round(3).to_string(), end="\n\n")
    print(pd.DataFrame(content["worst"]).round(3).to_string(index=False), end="\n\n")
    for name, label in (("auc", "AUC"), ("recall_at_5pct", "recall at 5 % of environment files")):
        print(
            f"{half} half: {label} {content[name]:.3f} ({content[name + '_low']:.3f} to {content[name + '_high']:.3f})"
        )
    print(f"{len(table)} files; see {out}")


def _worst(files) -> list[dict]:
    wrong = (files["y"] - files["score"]).abs()
    return files.loc[
        wrong.sort_values(ascending=False, kind="stable").index[:WORST], ["path", "label", "score"]
    ].to_dict("records")
