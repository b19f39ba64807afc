"""gunshot compare: two models on the same test streams."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app

MODEL = "model.tflite"
Streams = Annotated[Path | None, typer.Option(help="A folder of test streams. Default: where dvc.yaml has them.")]


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
    from gunshot.base import params, pipeline, tables
    from gunshot.promotion import comparison

    p = params.load("audio", "context", "features", "chunks", "detector", "promotion")
    folder = streams or pipeline.output("streams_test")
    folders = {comparison.CANDIDATE: candidate, comparison.CHAMPION: champion}
    contenders = {name: comparison.contender(path / MODEL) for name, path in folders.items() if path}
    table = tables.read(folder / "streams.csv", tables.STREAM)
    scored = comparison.scored(contenders, table, folder, p)
    rows = gathered(tqdm(scored, total=len(contenders) * len(table), desc="compare", unit="stream"))
    content = comparison.compare(contenders, rows, table, folder, p)
    tables.write_json(out, content)
    recall, false = content["recall"], content["false_incidents"]
    for name in contenders:
        print(f"{name:9} {recall[name]} of {recall['cases']} clear shots, {false[name]} false incidents in "
              f"{false['hours']:.2f} h")  # fmt: skip
    if champion:
        print(f"lost {recall['lost']}, won {recall['won']}: p={recall['p']:.3g}; false incidents: p={false['p']:.3g}")
