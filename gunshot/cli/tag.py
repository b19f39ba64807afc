"""gunshot tag: where shots start in recordings, found automatically."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import counted, print_names


@app.command()
def tag(
    path: Annotated[Path, typer.Argument(exists=True, help="A recording, or a folder with recordings anywhere in it.")],
) -> None:
    """Find where shots start, and write it to the tag file that the pipeline reads.

    Of recordings below data/raw those of the class gun are tagged, in data/tags/CORPUS.csv. Of any other folder all
    recordings are, but those in env/ beside a gun/, in its tags.csv. A cell such as 8120@0.93 is an automatic onset,
    in samples at 16 kHz, and how sure it is, 0 to 1.

    What a person confirmed, and what a corpus knows of its own shots, stays as it is. Older automatic tags are
    replaced. A recording in which nothing was found gets no line, since an empty one says that it holds no shot.
    """
    from tqdm import tqdm

    from gunshot import tags
    from gunshot.base import params, pipeline, processes
    from gunshot.dataset import onsets
    from gunshot.tags import catalogue

    p = params.load("audio", "tags", "validation")
    listed = catalogue.listed(path, pipeline.raw(), pipeline.by_hand())
    before, bad = listed.read()
    todo = {key: file for key, file in listed.recordings.items() if tags.state(before.get(key)) != "confirmed"}
    tagged, failed, unclear, rise_db = {}, [], [], p.validation.min_gun_rise_db
    searched = processes.in_order(onsets.of_file, todo.items(), p.audio.sr, p.tags.model_dump(), rise_db, workers=2)
    for key, shots, faint, fault in tqdm(searched, total=len(todo), desc="tag", unit="recording"):
        unclear += [f"{key} ({faint})"] if faint else []
        failed += [fault] if fault else []
        tagged |= {} if fault else {key: shots}
    # A person may have saved meanwhile.
    now, _ = listed.read()
    new = {key: shots for key, shots in tagged.items() if tags.state(now.get(key)) != "confirmed"}
    files = listed.write({key: shots or None for key, shots in new.items() if shots or key in now})
    count = sum(map(len, new.values()))
    where = ", ".join(map(str, files)) or "no file"
    some = f"{sum(map(bool, new.values()))} of {counted(len(new), 'recording')}"
    print(f"{counted(count, 'shot')} in {some}, written to {where}")
    if before := len(listed.recordings) - len(new) - len(failed):
        one = "recording was confirmed before and stays as it is"
        print(counted(before, one, "recordings were confirmed before and stay as they are"))
    print_names("line of tag files is no use", "lines of tag files are no use", bad)
    rise = f"onsets that rise by less than validation.min_gun_rise_db={rise_db:g} dB and"
    shows = "left out; `gunshot annotate` shows them"
    print_names(f"recording has {rise} are {shows}", f"recordings have {rise} are {shows}", unclear)
    print_names(
        "recording without any onset found",
        "recordings without any onset found",
        [key for key, shots in new.items() if not shots],
    )
    print_names("recording cannot be read", "recordings cannot be read", failed)
    print_names("link leads nowhere", "links lead nowhere", catalogue.dangling(path))
    print_names(*catalogue.LEFT_OUT, listed.unnamed)
    raise typer.Exit(1 if failed else 0)
