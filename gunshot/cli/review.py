"""gunshot review: a person's word on a candidate."""

from enum import StrEnum
from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import ByOption, CandidateArgument, OverruleOption, ReasonOption


class Decision(StrEnum):
    """What a reviewer says."""

    approve = "approve"
    reject = "reject"


@app.command()
def review(
    candidate: CandidateArgument,
    decision: Annotated[Decision, typer.Argument(help="approve or reject.")],
    by: ByOption,
    reason: ReasonOption,
    overrule: OverruleOption = None,
    acknowledge: Annotated[
        list[str] | None,
        typer.Option(help="A slice with too few cases, such as weapon=M16, or weapon for all of them."),
    ] = None,
) -> None:
    """Record the decision about a candidate in review.json in its folder: once, from its dossier as it is."""
    from gunshot.promotion import review as library

    overruled = dict(text.partition("=")[::2] for text in overrule or ())
    content = library.decide(
        candidate, decision.value, by=by, reason=reason, overruled=overruled, acknowledged=acknowledge or []
    )
    said = f"{content['decision']}: candidate {content['candidate'][:12]} by {content['by']}"
    print(f"{said}; see {candidate / library.FILE}")
