"""Which model `gunshot export` gives to boards and to programs."""

import sys

from gunshot.promotion import bundle


def to_export(version: str | None) -> bundle.Chosen:
    """Return what `bundle.chosen` does, and say on stderr where nobody promoted it."""
    chosen = bundle.chosen(version)
    if chosen.version is None:
        print(f"nothing was promoted yet: this is the pipeline's own model, {chosen.model}", file=sys.stderr)
    return chosen
