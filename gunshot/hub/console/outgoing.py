"""The console's addresses of what goes out: the feed that other systems read, and what webhooks did not take."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sql
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from gunshot.hub import webhooks
from gunshot.hub.console import listing
from gunshot.hub.console.routes import CHECKED, Number, PersonOf, SettingOf, logged_in
from gunshot.hub.console.times import utc
from gunshot.hub.database import CASE, DELIVERY

MOST = 200  # deliveries on the page
MOST_CASES = 1000  # of the feed

router = APIRouter()


@router.get("/cases.geojson")
def feed(request: Request, at: SettingOf) -> Response:
    """Return the newest raised cases as a GeoJSON FeatureCollection, to who has the feed's token or a login."""
    token, given = request.app.state.feed, request.headers.get("authorization", "")
    if not (token and secrets.compare_digest(given.encode(), f"Bearer {token}".encode())):
        if given:
            raise HTTPException(403, "the feed's token must be that of hub.yaml")
        logged_in(request, at)
    with at.engine.connect() as connection:
        rows = listing.cases(connection, listing.Filter(), CASE.c.raised_at.is_not(None), most=MOST_CASES)
    content = {"type": "FeatureCollection", "features": [listing.feature(row) for row in rows]}
    return JSONResponse(content, media_type="application/geo+json")


@router.get("/webhooks")
def undelivered(request: Request, at: SettingOf, person: PersonOf) -> Response:
    """Return the page of what webhooks did not take; 403 for all but admins."""
    _check(person)
    with at.engine.connect() as connection:
        rows = [dict(row._mapping) for row in webhooks.undelivered(connection, most=MOST)]
        last = sql.select(DELIVERY.c.hook, sql.func.max(DELIVERY.c.delivered_at)).group_by(DELIVERY.c.hook)
        hooks = [(hook, utc(at)) for hook, at in connection.execute(last.order_by(DELIVERY.c.hook))]
    for row in rows:
        row |= {name: utc(row[name]) for name in ("made_at", "due_at", "dead_at")}
    return at.page(request, "webhooks.html.j2", person, hooks=hooks, deliveries=rows, most=MOST)


@router.post("/webhooks/{number}", dependencies=CHECKED)
def send_again(at: SettingOf, person: PersonOf, number: Number) -> Response:
    """Let a dead letter be tried again; 403 for all but admins, 409 where it is none."""
    _check(person)
    try:
        with at.engine.begin() as connection:
            webhooks.send_again(connection, number, person=person.name, now=datetime.now(UTC))
    except ValueError as e:
        raise HTTPException(409, str(e)) from None
    return RedirectResponse("/webhooks", 303)


def _check(person: PersonOf) -> None:
    if not person.administers:
        raise HTTPException(403, f"{person.name} is a {person.role}: admins see what webhooks did not take")
