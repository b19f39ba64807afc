"""The list of cases: what a person filters it by, its rows, and the same as CSV and GeoJSON."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Annotated

import pydantic
import sqlalchemy as sql

from gunshot.device import messages
from gunshot.hub.console import decisions
from gunshot.hub.console.decisions import State
from gunshot.hub.console.times import from_unix, utc
from gunshot.hub.database import CASE, DECISION, DEVICE, INCIDENT

MOST = 200  # cases on the page, of either kind
NO_SITE = "-"  # a filter's: cases of devices that stand alone
_FULL_SCORE = 65535
COLUMNS = (
    "number", "time", "time_error_s", "opened_at", "raised_at", "site", "exercise", "devices", "devices_there", "shots",
    "level_db", "score", "latitude", "longitude", "state", "label", "decided_by", "acknowledged_at", "decided_at",
)  # fmt: skip


_Text = Annotated[str, pydantic.Field(pattern=r"^[^\x00]*$")]  # PostgreSQL takes no NUL


def _nothing(value: object) -> object:
    return None if value == "" else value  # a form's field that nobody filled


class Filter(pydantic.BaseModel):
    """Which cases a person wants to see; dates are in UTC, the last one included."""

    model_config = pydantic.ConfigDict(extra="forbid")

    site: Annotated[_Text | None, pydantic.BeforeValidator(_nothing)] = None
    state: Annotated[State | None, pydantic.BeforeValidator(_nothing)] = None
    first: Annotated[date | None, pydantic.BeforeValidator(_nothing)] = None
    last: Annotated[date | None, pydantic.BeforeValidator(_nothing)] = None

    def numbers(self, *where: sql.ColumnElement) -> sql.Select:
        """Return a query of the numbers of the cases wanted, of whatever state, that were not merged."""
        query = sql.select(CASE.c.number).where(CASE.c.merged_into.is_(None), *where)
        if self.site:
            query = query.where(CASE.c.site.is_(None) if self.site == NO_SITE else CASE.c.site == self.site)
        if self.first:
            query = query.where(CASE.c.opened_at >= datetime.combine(self.first, time(), UTC))
        if self.last and self.last < date.max:  # after which there is no day
            query = query.where(CASE.c.opened_at < datetime.combine(self.last, time(), UTC) + timedelta(days=1))
        return query


def cases(connection: sql.Connection, wanted: Filter, *where: sql.ColumnElement, most: int | None = None) -> list[dict]:
    """Return the cases wanted, newest first, at most `most`: a dict of COLUMNS and of what the pages need besides.

    Those that were merged into others are none of their own.
    """
    newest = sql.func.coalesce(CASE.c.raised_at, CASE.c.opened_at).desc(), CASE.c.number.desc()
    chosen = wanted.numbers(*where)
    if not wanted.state:  # or only the join says which are wanted
        chosen = chosen.order_by(*newest).limit(most)
    query = _query(chosen, wanted.state).order_by(*newest).limit(most)
    return [_row(dict(row)) for row in connection.execute(query).mappings()]


def count(connection: sql.Connection, wanted: Filter, *where: sql.ColumnElement) -> int:
    """Return how many cases are wanted."""
    query = wanted.numbers(*where)
    if wanted.state:
        query = _query(query, wanted.state)
    return connection.scalar(sql.select(sql.func.count()).select_from(query.subquery()))


def _query(chosen: sql.Select, wanted: State | None) -> sql.Select:
    """Return a query of the cases whose numbers are chosen, in a state, with what was heard and decided of them."""
    outcome, last = decisions.outcomes(chosen), DECISION.alias()
    i = INCIDENT.c
    heard = (
        sql.select(
            i.case, sql.func.max(i.score).label("score"), sql.func.max(i.spl_db).label("spl_db"),
            sql.func.min(i.device).label("device"),
        ).where(i.case.in_(chosen), i.state != messages.State.WITHDRAWN).group_by(i.case).cte("heard")
    )  # fmt: skip
    there = sql.select(DEVICE.c.site, sql.func.count().label("devices_there")).group_by(DEVICE.c.site).cte("there")
    state = decisions.state_of(outcome, last)
    query = (
        sql.select(
            CASE, heard.c.score, heard.c.spl_db, heard.c.device, there.c.devices_there, outcome.c.acknowledged_at,
            outcome.c.decided_at, last.c.label, last.c.person.label("decided_by"), last.c.at.label("held_at"),
            state.label("state"),
        )
        .where(CASE.c.number.in_(chosen))
        .outerjoin(heard, heard.c.case == CASE.c.number)
        .outerjoin(there, there.c.site == CASE.c.site)
        .outerjoin(outcome, outcome.c.case == CASE.c.number)
        .outerjoin(last, last.c.number == outcome.c.last)
    )  # fmt: skip
    return query.where(state == str(wanted)) if wanted else query


def _row(row: dict) -> dict:
    for name in ("opened_at", "raised_at", "changed_at", "acknowledged_at", "decided_at", "held_at"):
        row[name] = utc(row[name])
    raised_at = row["raised_at"]
    return row | {
        "time": from_unix(row["unix_us"]),
        "time_error_s": None if row["error_us"] is None else row["error_us"] / 1e6,
        "devices_there": row["devices_there"] or 1,  # one without a site stands alone
        "score": None if row["score"] is None else round(row["score"] / _FULL_SCORE, 3),
        "level_db": None if row["spl_db"] is None else row["spl_db"] / 10,
        "state": State(row["state"]),
        "to_acknowledge": raised_at and row["acknowledged_at"] and row["acknowledged_at"] - raised_at,
        "to_decide": raised_at and row["decided_at"] and row["decided_at"] - raised_at,
        "changed_since": bool(row["held_at"] and row["changed_at"] > row["held_at"]),
    }


def median_span(rows: Iterable[dict], name: str) -> timedelta | None:
    """Return the median of `to_acknowledge` or `to_decide` of the rows that have one; None where none has."""
    spans = [row[name] for row in rows if row[name] is not None]
    return median(spans) if spans else None


def feature(row: dict) -> dict:
    """Return a row as a GeoJSON Feature (RFC 7946): a point, null where there is no place. It names no person."""
    left_out = ("number", "latitude", "longitude", "decided_by")
    values = {name: row[name] for name in COLUMNS if name not in left_out}
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    at = None
    if row["latitude"] is not None:
        at = {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
    return {"type": "Feature", "id": row["number"], "geometry": at, "properties": values}


def as_csv(rows: Sequence[dict]) -> str:
    """Return rows as CSV with a header, times as ISO 8601."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()})
    return out.getvalue()
