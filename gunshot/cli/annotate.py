"""gunshot annotate: place, move and confirm tags on a page in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import print_names


@app.command()
def annotate(
    path: Annotated[
        Path | None, typer.Argument(exists=True, help="A recording or a folder. Default: data/raw, all that is gun.")
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Show no tags of others and no suggestions; write to data/tags/blind.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where Split & save writes windows, as wavs.")] = Path("chunks"),
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 5006,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Listen to recordings, see them, and place their shots on a page in the browser, on this machine alone.

    The tags of recordings below data/raw are written to data/tags/CORPUS.csv, those of any other folder to its
    tags.csv. Automatic tags are suggestions: accept, move or reject them; what is saved is confirmed. Recordings of
    devices, in data/field, come in the order of doubt: the int8 model's score, nearest to its operating point first. Of
    the forty most doubtful the ten that stand for all of them are before all others.

    Ctrl-C ends it.
    """
    from gunshot.base import params, pipeline
    from gunshot.field import queue
    from gunshot.models.model import load_model
    from gunshot.pages import server
    from gunshot.pages.editing import Desk
    from gunshot.site import teaching
    from gunshot.tags import catalogue

    p = params.load("audio", "tags", "context", "features", "detector")
    raw, scores = pipeline.raw(), None
    listed = catalogue.listed(path or raw, raw, pipeline.by_hand(), blind=blind)
    print_names(*catalogue.LEFT_OUT, listed.unnamed)
    if listed.home.root == pipeline.field().resolve():
        int8 = pipeline.models()["int8"]
        if not int8.exists():
            print(f"{int8}: no model to score them with; they are in the order of their names")
        model = load_model(int8) if int8.exists() else None
        listed, scores = queue.by_doubt(listed, model, p)
        if model:
            listed = teaching.first(listed, scores, model, p, count=teaching.ASKED_FOR)
    onset = None if blind else p.tags.model_dump()
    desk = Desk(listed, sr=p.audio.sr, chunk_length=p.audio.chunk_length, onset=onset, scores=scores or None)
    server.serve(desk, out, port=port, show=browser)
