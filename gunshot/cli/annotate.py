"""gunshot annotate: place, move and confirm tags on a page in the browser."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from gunshot import tags
from gunshot.base import params, pipeline
from gunshot.cli.app import app
from gunshot.tags import catalogue


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
    devices, in data/field, come in the order of doubt: the int8 model's score, nearest to its operating point first.

    Ctrl-C ends it.
    """
    from gunshot.pages import server
    from gunshot.pages.editing import Desk

    p = params.load("audio", "tags")
    raw = pipeline.raw()
    listed = catalogue.listed(path or raw, raw, pipeline.by_hand(), blind=blind)
    scores = None
    if listed.home.root == pipeline.field().resolve():
        listed, scores = _queued(listed)
    onset = None if blind else p.tags.model_dump()
    desk = Desk(listed, sr=p.audio.sr, chunk_length=p.audio.chunk_length, onset=onset, scores=scores)
    server.serve(desk, out, port=port, show=browser)


def _queued(listed: catalogue.Catalogue) -> tuple[catalogue.Catalogue, dict[str, float] | None]:
    """Return devices' recordings in the order in which they are to be looked at, and their scores."""
    from tqdm import tqdm

    from gunshot.field import queue
    from gunshot.models.model import load_model

    path, found = pipeline.models()["int8"], listed.read()[0]
    states = {key: tags.state(found.get(key)) for key in listed.recordings}
    if not path.exists():
        print(f"{path}: no model to score them with; they are in the order of their names")
        return _ordered(listed, queue.queue(states, {}, 0.0)), None
    model = load_model(path)
    scored = queue.scores(
        listed.recordings, listed.home.root / "scores.csv", model, p=params.load("audio", "features", "detector")
    )
    scores = {key: score for key, score in tqdm(scored, total=len(states), desc="score") if score is not None}
    return _ordered(listed, queue.queue(states, scores, model.operating_point)), scores


def _ordered(listed: catalogue.Catalogue, keys: list[str]) -> catalogue.Catalogue:
    return dataclasses.replace(listed, recordings={key: listed.recordings[key] for key in keys})
