"""gunshot explore: one page on the data."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app


@app.command()
def explore(
    out: Annotated[Path | None, typer.Option(help="The page. Default: explore.html beside the reports.")] = None,
) -> None:
    """Write a page on the data: counts, durations and levels, examples to hear, a map of the chunks, hard chunks beside
    what they resemble, and the leakage gap.

    The leakage gap is what a random split over chunks would have pretended: the accuracy of one forest with such a
    split, minus that with recording groups held out. The page holds sound, and loads nothing; its figures are also in
    a .json beside it. What is not made yet is left out, with the command that makes it.
    """
    import numpy as np
    from tqdm import tqdm

    from gunshot import tags
    from gunshot.base import params, pipeline, tables
    from gunshot.pages import explore as page

    p = params.load("audio", "context", "features")
    out = out or pipeline.output("evaluate").parent / "explore.html"
    rng = np.random.default_rng(0)
    raw, features = pipeline.raw(), pipeline.output("featurize")
    recordings = tables.recordings(raw)
    measured = list(tqdm(page.rms_and_peak(recordings, raw, sr=p.audio.sr), total=len(recordings), desc="levels"))
    recordings[["rms_db", "peak_db"]] = measured
    tagged = pipeline.output("tag") / "tags.csv"
    placed = tags.read(tagged)[0] if tagged.exists() else {}
    examples = page.by_label(recordings, raw, placed, rng, p=p)
    if (features / "test.csv").exists():
        parts, gaps = page.of_chunks(features, pipeline.output("chunk"), pipeline.output("evaluate"), rng, p=p)
    else:
        parts, gaps = [page.Part("Chunks", missing="dvc repro")], {}
    overview = page.overview(recordings)
    page.html(
        out,
        [*page.of_recordings(recordings, overview, examples), *parts],
        title="The data",
        intro=f"{len(recordings)} recordings, {recordings['duration_s'].sum() / 3600:.2f} h, "
        f"{recordings['recording_group'].nunique()} recording groups. The page holds sound: share it as you would "
        "share the recordings.",
    )
    tables.write_json(out.with_suffix(".json"), {"overview": overview.to_dict("records"), "leakage": gaps})
    for name, gap in gaps.items():
        print(
            f"leakage gap, {name}: {100 * gap['gap']:+.1f} points ({100 * gap['gap_lower']:+.1f} to "
            f"{100 * gap['gap_upper']:+.1f}): accuracy {gap['random']['accuracy']:.3f} by a random split over chunks, "
            f"{gap['grouped']['accuracy']:.3f} with groups held out"
        )
    print(f"see {out}")
