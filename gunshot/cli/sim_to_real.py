"""gunshot sim-to-real, gunshot sim-and-real: what simulation is worth, alone and beside real recordings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.base import params, pipeline, tables
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
    highest window's score, heard after quiet of its own), averaged over labels and upstream sources: AUC, and recall
    where 5 % of the environment files alarm, with 95 % intervals by recording group. Half of the groups, by hash, is
    sealed.
    """
    import numpy as np
    import pandas as pd
    from tqdm import tqdm

    from gunshot import corpora
    from gunshot.studies.recordings import score_files
    from gunshot.studies.sim_to_real import sealed as sealed_
    from gunshot.studies.sim_to_real import transfer

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
        listed = [row for row in listed if not sealed_(row["recording_group"])]
    scored, files = score_files(listed, {"score": pipeline.models()[model]}, p), []
    for _, file, bad in tqdm(scored, total=len(listed), desc="sim-to-real", unit="file"):
        files += [file] if file else []
        rejected += bad
    tables.check_rejected(
        tables.frame(rejected, tables.REJECTED), len(listed), limit=p.quality.max_rejected, where="this message"
    )
    table = pd.DataFrame(files)
    shut = table["recording_group"].map(sealed_)
    figures = {
        name: transfer(part, np.random.default_rng(0)) | {"half": name, "worst": _worst(part)}
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


@app.command()
def sim_and_real(
    seeds: Annotated[int, typer.Option(help="Networks of each kind a fold.", min=2)] = 3,
    folds: Annotated[int, typer.Option(help="Parts of the real recording groups; each is held out once.", min=2)] = 2,
    out: Annotated[Path | None, typer.Option(help="Default: sim_and_real.json beside the reports.")] = None,
) -> None:
    """Measure what simulated chunks add to real ones: one network on real recordings alone, the same on both.

    Import real recordings and run `dvc repro` first. Real recording groups are held out in turns, then upstream sources
    as a whole, where there are enough. Both networks have the same params, steps and seeds, and see no augmented
    copies. network.epochs counts passes over the real chunks.
    """
    import pandas as pd

    from gunshot.studies import sim_and_real as pooling

    real, simulated = _chunks()
    given, count = (*real, *simulated, params.load("network").network), {"seeds": seeds, "folds": folds}
    rows = [pooling.compare(*given, **count)]
    content = pooling.summary(rows[0])
    if real[1].groupby("y")["upstream"].nunique().min() >= folds:
        rows.append(pooling.compare(*given, **count, held_out="upstream"))
        content["upstream"] = pooling.summary(rows[1])
    else:
        print(f"no source is held out as a whole: a class has fewer upstream sources than folds={folds}")
    networks = pd.concat(rows).to_dict("records")
    out = out or pipeline.output("evaluate").parent / "sim_and_real.json"
    tables.write_json(out, content | {"networks": networks})
    print(pd.DataFrame({arm: content[arm] for arm in pooling.ARMS}).T.round(4).to_string())
    if "upstream" in content:
        print(
            "\nupstream sources held out as a whole:",
            pd.DataFrame(content["upstream"]).T.round(4).to_string(),
            sep="\n",
        )
    print(f"\n{len(real[0])} real chunks, {len(simulated[0])} simulated; {len(networks)} networks; see {out}")


def _chunks() -> tuple[tuple, tuple]:
    """Return the features of real chunks and their table, with y and upstream, and of simulated ones and their y."""
    import numpy as np
    import pandas as pd

    folder = pipeline.output("featurize")
    sides = [tables.features(folder, side) for side in ("train", "val", "test")]
    table = pd.concat([part.assign(y=y) for _, y, part in sides], ignore_index=True)
    own, made = ~table["chunk"].str.contains("~"), table["source"] == "simulated"
    real, drawn = (own & ~made).to_numpy(), (own & made).to_numpy()
    if not real.any() or not drawn.any():
        raise ValueError(f"{folder}: must hold simulated and real chunks; import recordings, then run `dvc repro`")
    edges = np.cumsum([len(x) for x, _, _ in sides])[:-1]
    x, simulated = (np.concatenate([x[k] for (x, _, _), k in zip(sides, np.split(which, edges), strict=True)])
                    for which in (real, drawn))  # fmt: skip
    recordings = tables.read(pipeline.output("group") / "recordings.csv", tables.RECORDING | {"imported_group": str})
    upstream = table.loc[real, "path"].map(recordings.set_index("path")["upstream"])
    return (x, table[real].assign(upstream=upstream)), (simulated, table.loc[drawn, "y"].to_numpy())


def _worst(files) -> list[dict]:
    wrong = (files["y"] - files["score"]).abs()
    return files.loc[
        wrong.sort_values(ascending=False, kind="stable").index[:WORST], ["path", "label", "score"]
    ].to_dict("records")
