"""gunshot annotate: place, move and confirm tags on a page in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot import catalogue, params, pipeline
from gunshot.cli.app import app


@app.command()
def annotate(
    path: Annotated[
        Path | None, typer.Argument(exists=True, help="A recording or a folder. Default: data/raw, all that is gun.")
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Show no tags of others and no suggestions; write to data/tags/blind.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where Split & save writes windows, as wavs.")] = Path("chunks"),
    host: Annotated[str, typer.Option(help="The address to serve at; others than this machine's are open to all.")] = (
        "localhost"
    ),
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 5006,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Listen to recordings, see them, and place their shots on a page in the browser.

    The tags of recordings below data/raw are written to data/tags/CORPUS.csv, those of any other folder to its
    tags.csv. Automatic tags are suggestions: accept, move or reject them; what is saved is confirmed. Ctrl-C ends it.
    """
    from gunshot.pages import annotate
    from gunshot.pages.editing import Desk

    p = params.load("audio", "tags")
    listed = catalogue.listed(path or pipeline.raw(), pipeline.raw(), pipeline.by_hand(), blind=blind)
    onset = None if blind else p.tags.model_dump()
    desk = Desk(listed, sr=p.audio.sr, chunk_length=p.audio.chunk_length, onset=onset)
    annotate.serve(desk, out, host=host, port=port, show=browser)
