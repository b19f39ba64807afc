"""gunshot promote: a candidate into production, on the record."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import ByOption, OverruleOption, ReasonOption


class Stage(StrEnum):
    """Where a version goes."""

    prod = "prod"
    staging = "staging"


@app.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="A commit, branch or tag whose dvc.lock names the model.")],
    dossier: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The page that was decided from.")],
    gates: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="JSON: candidate, champion, gates, small.")],
    by: ByOption,
    reason: ReasonOption,
    overrule: OverruleOption = None,
    acknowledge: Annotated[
        list[str] | None, typer.Option(help="A slice with too few cases, or an axis for all of them; repeat for each.")
    ] = None,
    stage: Annotated[Stage, typer.Option(help="staging: for a trial; what is in production stays.")] = Stage.prod,
) -> None:
    """Put a candidate's int8 model into production, on the record, signed, with its tags."""
    from gunshot.base import tables
    from gunshot.promotion import registry

    pairs = [text.partition("=")[::2] for text in overrule or ()]
    entry = registry.promote(
        candidate, dossier=dossier, review=tables.read_json(gates), by=by, reason=reason, overrule=dict(pairs),
        acknowledge=acknowledge, registry_stage=stage.value,
    )  # fmt: skip
    print(f"{entry['version']} is in {entry['stage']}, line {entry['number']} of the record")
