"""gunshot search: rows of params, a few networks each, judged on validation streams; on a cluster where one is."""

import json
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import given, report

STAGES = ("featurize", "streams_train", "streams_val")


@app.command()
def search(
    file: Annotated[Path, typer.Argument(parser=given, help="What to try, as DOC/search.md says.", metavar="FILE")],
    best: Annotated[int, typer.Option(help="Rows that `dvc exp show` lists afterwards.", min=1)] = 3,
) -> None:
    """Search values of params.yaml by which networks find more shots: many rows of them, on a cluster where one is.

    Run `dvc repro` first. FILE names keys of the sections network and quantize, each with a list of values or with low
    and high. Optuna proposes rows, the first of them params.yaml as it is. Each is trained, quantized, and judged on
    validation streams, never on test streams: by the recall of clear shots where detector.max_false_incidents_per_hour
    is kept, the mean over its seeds. A row that is below the median after its first seed, or larger than
    promotion.max_bytes, gets no more.

    All is kept in reports/search/NAME of the FILE's name, and the same command goes on after a kill, or with more rows.
    The working tree stays as it is.
    """
    from functools import partial

    from gunshot.base import pipeline
    from gunshot.promotion import experiments
    from gunshot.promotion.repository import Repository
    from gunshot.studies import search as study
    from gunshot.studies import space

    p = _sections()
    asked, repository = space.load(file, p), Repository(Path())
    any_row = {key: space.ends(values)[0] for key, values in asked.space.items()}
    experiments.ready(repository, any_row)  # better said now than after hours
    folders = study.Folders(*map(pipeline.output, STAGES))
    folder, data = report("search") / file.stem, _data(folders)
    rows = study.search(asked, folder, partial(study.judged, folders=folders, p=p), p, data)
    if _data(folders) != data or study.begun(asked, _sections()) != study.begun(asked, p):
        raise ValueError(f"params.yaml, features or streams have changed since the search began; {folder / 'rows.csv'} "
                         "may be of both. Undo that and search under another name")  # fmt: skip
    whole = rows[rows["state"] == study.JUDGED]
    if not len(whole):
        raise ValueError(f"{folder / 'rows.csv'}: every row is larger than promotion.max_bytes={p.promotion.max_bytes}")
    _save_and_print(whole.head(best), file.stem, repository, list(asked.space))
    if space.present(p, asked.space):
        print(f"row 0, params.yaml as it is: recall {rows.set_index('row')['recall'][0]:.1%}")
    print(f"{len(rows) - len(whole)} of {len(rows)} rows ended after one seed; all: {folder / 'rows.csv'}")
    print(f"compare: dvc exp show --only-changed; take: dvc exp apply {file.stem}-{whole['row'].iloc[0]} && dvc repro")


def _sections():
    from gunshot.base import params

    return params.load(
        "audio", "chunks", "context", "features", "detector", "network", "quantize", "evaluate", "promotion"
    )


def _data(folders) -> dict[str, str]:
    """Return dvc.lock's hashes of what networks are trained and judged on.

    ValueError where that is not made yet, or not by what params.yaml, code and data are now.
    """
    import yaml

    from gunshot.promotion.repository import DVC

    lock = Path("dvc.lock")
    stages = yaml.load(lock.read_text(), yaml.CSafeLoader)["stages"] if lock.exists() else {}
    hashes = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    missing = [str(path) for path in folders if str(path) not in hashes or not path.exists()]
    if missing:
        raise ValueError(f"{', '.join(missing)}: not made yet; run `dvc repro {' '.join(STAGES)}`")
    done = subprocess.run([DVC, "status", "--json", "--with-deps", *STAGES], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"dvc status failed: {done.stderr.strip()}")
    if stale := json.loads(done.stdout):
        raise ValueError(f"{', '.join(stale)}: not as dvc.lock has it; run `dvc repro {' '.join(STAGES)}`")
    return {str(path): hashes[str(path)] for path in folders}


def _save_and_print(best, name: str, repository, keys: list[str]) -> None:
    """Save the best rows as experiments, and print them."""
    from gunshot.promotion import experiments

    figures = ["recall", "recall_lowest", "false_incidents_per_hour", "bytes", "seeds"]
    for row in best.to_dict("records"):
        values, of_row = ({key: row[key] for key in part} for part in (keys, figures))
        experiments.save(repository, f"{name}-{row['row']}", values, of_row)
    print(best[["row", *figures, *keys]].to_string(index=False, float_format="{:.4g}".format), end="\n\n")
