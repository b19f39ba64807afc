"""What persons decided at a site: the CSV that the console exports, and what it leaves of the site's hours."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from gunshot.site.heard import Heard
from gunshot.site.hours import Span

COLUMNS = ("number", "time", "time_error_s", "site", "state", "label")  # of the console's, those that are read
CONFIRMED, DISMISSED = "confirmed", "dismissed"
AROUND_S = 60.0  # left out before and after a confirmed incident: who fires may fire again
SAME_S = 2.0  # an incident and a decision on it are this close, but for the clock's error


@dataclass(frozen=True)
class Decision:
    """A case that a person decided: when its first onset was, UTC, and how far that may be off, s."""

    number: str
    time: datetime | None
    error_s: float
    state: str
    label: str

    @property
    def named(self) -> str:
        """Return it in words, for an error."""
        return f"case {self.number} ({self.state}{f', {self.label}' if self.label else ''})"

    def within(self, heard: Heard, *, sr: int, more_s: float) -> Span | None:
        """Return where in a recording it lies, `more_s` and its error either way; None where it does not."""
        duration_s, more_s = heard.samples / sr, more_s + self.error_s
        at = (self.time - heard.began).total_seconds()
        if not -more_s < at < duration_s + more_s:
            return None
        return Span(0, max(0.0, at - more_s), min(duration_s, at + more_s))


def read(file: Path, site: str) -> list[Decision]:
    """Return what was confirmed and dismissed at a site, of the console's `cases.csv`; what is open is no decision.

    Raises
    ------
    ValueError
        A column is missing, no row is the site's, a value cannot be read, a confirmed case has no time, or two rows of
        one sound contradict each other.
    """
    with file.open(newline="", encoding="utf-8-sig") as content:
        try:
            table = csv.DictReader(content)
            names, rows = table.fieldnames or [], [(table.line_num, row) for row in table]
        except (csv.Error, UnicodeDecodeError) as e:
            raise ValueError(f"{file}: must be the CSV that the console exports: {e}") from None
    if missing := [name for name in COLUMNS if name not in names]:
        raise ValueError(f"{file}: no column {missing[0]}; must be the CSV that the console exports")
    own = [(line, row) for line, row in rows if row["site"] == site]
    if not own:
        others = ", ".join(sorted({row["site"] or "-" for _, row in rows})) or "none"
        raise ValueError(f"{file}: no row of site={site!r}; must hold some of that site, has those of {others}")
    decided = [_decision(row, f"{file}: row {line}") for line, row in own if row["state"] in (CONFIRMED, DISMISSED)]
    _check(decided, file)
    return decided


def _decision(row: dict, where: str) -> Decision:
    try:
        time = datetime.fromisoformat(row["time"]) if row["time"] else None
        error_s = float(row["time_error_s"] or 0)
    except (TypeError, ValueError):
        error_s = math.nan
    if not 0 <= error_s < math.inf:
        raise ValueError(
            f"{where}: time={row['time']!r}, time_error_s={row['time_error_s']!r} must be ISO 8601 and 0 or more"
        )
    if time is None and row["state"] == CONFIRMED:
        raise ValueError(
            f"{where}: time='' of the confirmed case {row['number']} must be known, or its shots count as false; "
            "write its time there, or leave the row out if it is not of these hours"
        )
    time = time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
    return Decision(row["number"], time, error_s, row["state"], row["label"] or "")


def _check(decided: list[Decision], file: Path) -> None:
    """Raise ValueError where two decisions on one sound, by number or by time, are not alike."""
    for a, b in combinations(decided, 2):
        close = a.time and b.time and abs((a.time - b.time).total_seconds()) <= SAME_S + a.error_s + b.error_s
        if (a.number == b.number or close) and (a.state, a.label) != (b.state, b.label):
            raise ValueError(
                f"{file}: {a.named} and {b.named} contradict each other: they are of one sound; decide in the console "
                "which is right, or delete the other row"
            )


def check_times(recordings: Sequence[Heard]) -> None:
    """Raise ValueError, which names a recording whose name does not say when it began."""
    for heard in recordings:
        if heard.began is None:
            raise ValueError(
                f"{heard.name}: must say in its name when it began, UTC, as in yard_20260501_221003.wav; without that "
                "no decision can be placed"
            )


def spans(
    decided: Sequence[Decision], recordings: Sequence[Heard], state: str, *, sr: int, more_s: float
) -> list[Span]:
    """Return where in recordings the decisions of a state lie, `more_s` either way."""
    return [
        Span(i, span.start_s, span.stop_s)
        for i, heard in enumerate(recordings)
        for one in decided
        if one.state == state and one.time and (span := one.within(heard, sr=sr, more_s=more_s))
    ]
