"""gunshot compare, gunshot dossier, gunshot review: what speaks for a candidate and against it, and a person's word."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.base import params, pipeline, tables
from gunshot.cli.app import app

Streams = Annotated[Path | None, typer.Option(help="A folder of test streams. Default: where dvc.yaml has them.")]


MODEL = "model.tflite"


@app.command()
def compare(
    candidate: Annotated[Path, typer.Argument(help="A folder with model.tflite, report.json and operating.json.")],
    champion: Annotated[Path | None, typer.Argument(help="Another one. None: nothing is in production yet.")] = None,
    streams: Streams = None,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("comparison.json"),
) -> None:
    """Measure two models on the same test streams, each at its own operating point, and test which finds less."""
    from tqdm import tqdm

    from gunshot.alarms.score import gathered
    from gunshot.promotion import comparison

    p = params.load("audio", "features", "chunks", "detector", "promotion")
    folder = streams or pipeline.output("streams_test")
    folders = {comparison.CANDIDATE: candidate, comparison.CHAMPION: champion}
    sides = {name: comparison.side(found / MODEL) for name, found in folders.items() if found}
    table = tables.read(folder / "streams.csv", tables.STREAM)
    scored = comparison.scored(sides, table, folder, p)
    found = gathered(tqdm(scored, total=len(sides) * len(table), desc="compare", unit="stream"))
    made = comparison.compare(sides, found, table, folder, p)
    tables.write_json(out, made)
    recall, false = made["recall"], made["false_alarms"]
    for name in sides:
        print(f"{name:9} {recall[name]} of {recall['cases']} clear shots, {false[name]} false alarms in "
              f"{false['hours']:.2f} h")  # fmt: skip
    if champion:
        print(f"lost {recall['lost']}, won {recall['won']}: p={recall['p']:.3g}; false alarms: p={false['p']:.3g}")


Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The candidate's folder.")]


@app.command()
def dossier(
    candidate: Folder,
    champion: Annotated[str | None, typer.Option(help="Its version. Default: nothing is in production yet.")] = None,
    root: Annotated[Path, typer.Option(help="The working tree in which the candidate was made.")] = Path(),
) -> None:
    """Write dossier.html and gates.json to a candidate's folder, from its working tree and from comparison.json there.

    Where they lie there too, the page shows metrics.json and params.json (`dvc metrics diff --json`, `dvc params diff
    --json`), drift.json (a verdict of drift) and seeds.json (recall, by origin of streams a list, one for each seed).
    Fails for no gate.
    """
    from gunshot.promotion import dossier as library
    from gunshot.promotion import evidence, gates

    p = params.load("audio", "features", "promotion", path=root / "params.yaml")
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


class Decision(StrEnum):
    """What a reviewer says."""

    approve = "approve"
    reject = "reject"


@app.command()
def review(
    candidate: Folder,
    decision: Annotated[Decision, typer.Argument(help="approve or reject.")],
    by: Annotated[str, typer.Option("--by", help="Who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in one line.")],
    overrule: Annotated[
        list[str] | None, typer.Option(help="GATE=TEXT: why a gate that failed may be; repeat for each.")
    ] = None,
    acknowledge: Annotated[
        list[str] | None,
        typer.Option(help="A slice with too few cases, such as weapon=M16, or weapon for all of them."),
    ] = None,
) -> None:
    """Record the decision about a candidate in review.json in its folder: once, from its dossier as it is."""
    from gunshot.promotion import review as library

    overruled = dict(text.partition("=")[::2] for text in overrule or ())
    made = library.decide(
        candidate, decision.value, by=by, reason=reason, overruled=overruled, acknowledged=acknowledge or []
    )
    print(f"{made['decision']}: candidate {made['candidate'][:12]} by {made['by']}; see {candidate / library.FILE}")
