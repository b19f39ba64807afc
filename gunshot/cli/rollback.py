"""gunshot rollback: an earlier version back into production."""

from typing import Annotated

import typer

from gunshot.cli.app import app
from gunshot.cli.options import ByOption, ReasonOption


@app.command()
def rollback(
    by: ByOption,
    reason: ReasonOption,
    to: Annotated[str | None, typer.Option(help="Default: the version that the present one replaced.")] = None,
) -> None:
    """Put an earlier version back into production, the same bytes, in models/promoted/VERSION/; on the record too."""
    from gunshot.promotion import bundle, registry

    entry = registry.rollback(to=to, by=by, reason=reason)
    print(f"{entry['version']} is in production, line {entry['number']} of the record; see {bundle.export()}")
