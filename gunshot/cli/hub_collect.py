"""gunshot hub collect: what persons decided, back to the pipeline."""

from gunshot.cli.app import hub
from gunshot.cli.hub import FolderArgument
from gunshot.cli.options import counted


@hub.command()
def collect(folder: FolderArgument) -> None:
    """File the sound of decided cases below data/field, for `gunshot import field`.

    What was confirmed has the onsets that its device heard as tags; what was dismissed has none, and its label: a
    negative. What nobody decided, and drills, are not filed. Run again, it adds what is new, and follows decisions that
    changed. Run it in the project's folder.
    """
    from gunshot.base import params, pipeline
    from gunshot.hub import collect as collecting
    from gunshot.hub import database, orders
    from gunshot.hub import folder as folders

    sr, root = params.load("audio").audio.sr, pipeline.field()
    with database.opened(folders.load(folder).database) as engine, engine.connect() as connection:
        clips = collecting.clips(connection, sr=sr)
    done = collecting.collect(clips, folder / orders.SOUND, root, pipeline.raw() / root.name, sr=sr)
    labels = ", ".join(f"{count} {label}" for label, count in sorted(done.filed.items()))
    filed = counted(done.filed.total(), "recording")
    print(f"{filed} filed below {root}{f' ({labels})' if labels else ''}; {done.before} filed before", end="")
    print(f"; {done.withdrawn} taken back, whose decision holds no longer" if done.withdrawn else "")
    for reason, count in sorted(done.left.items()):
        print(f"{counted(count, 'clip')} not filed: {reason}")
    if done.filed:
        print("`gunshot import field` takes them; `gunshot annotate` before that shows them")
