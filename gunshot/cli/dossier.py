"""gunshot dossier: what speaks for a candidate and against it, as a page."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import CandidateArgument


@app.command()
def dossier(
    candidate: CandidateArgument,
    champion: Annotated[str | None, typer.Option(help="Its version. Default: nothing is in production yet.")] = None,
    root: Annotated[Path, typer.Option(help="The working tree in which the candidate was made.")] = Path(),
) -> None:
    """Write dossier.html and gates.json to a candidate's folder, from its working tree and from comparison.json there.

    Where they lie there too, the page shows metrics.json and params.json (`dvc metrics diff --json`, `dvc params diff
    --json`), drift.json (a verdict of drift) and seeds.json (recall, by origin of streams a list, one for each seed).
    Fails for no gate.
    """
    from gunshot.base import params, pipeline, tables
    from gunshot.promotion import dossier as library
    from gunshot.promotion import evidence, gates

    p = params.load("audio", "context", "features", "promotion", path=root / "params.yaml")
    facts = evidence.gather(candidate, champion=champion, root=root)
    judged = gates.judge(facts, p.promotion)
    recordings = tables.read(pipeline.output("group", root=root) / "recordings.csv", tables.RECORDING)
    library.write(
        candidate, facts, judged, heard=pipeline.output("streams_test", root=root), p=p,
        licence_of=dict(zip(recordings["path"], recordings["licence"], strict=True)),
    )  # fmt: skip
    for gate in judged:
        print(f"{'pass' if gate.passed else 'FAIL'}  {gate.name:20} {gate.figure} (limit {gate.limit})  {gate.text}")
    print(f"see {candidate / library.PAGE}")
