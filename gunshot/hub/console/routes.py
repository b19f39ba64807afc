"""The console's pages by address, and who may do what there."""

import asyncio
import pathlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import sqlalchemy as sql
from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from fastapi.sse import EventSourceResponse
from starlette.templating import Jinja2Templates

from gunshot.device import topics
from gunshot.hub import folder as folders
from gunshot.hub.console import decisions, details, evidence, fleet, listing, live, maps, people, sound
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.noise import Noise
from gunshot.hub.console.people import Person
from gunshot.hub.database import CASE, SITE

LOOK_S = 0.5  # between two looks at whether something changed
MOST = 2**63 - 1  # that a number in a database can be
SAY_S = 5.0  # between two events, at most: a page that gets none says so

router = APIRouter()


class LoggedOutError(Exception):
    """Nobody is logged in."""


@dataclass(frozen=True)
class Setting:
    """What all pages share. A device is `living` if less than that has passed since a message of it."""

    folder: pathlib.Path  # the hub's
    engine: sql.Engine
    templates: Jinja2Templates
    sr: int
    living: timedelta
    noise: Noise
    listeners: set[tuple]  # login, order and what of it was heard, of those that are in the chain already

    def page(self, request: Request, name: str, person: Person | None, *, status: int = 200, **content) -> Response:
        """Return a page from its template; each form in it has the session's CSRF token."""
        csrf = request.session.setdefault("csrf", secrets.token_urlsafe(16))
        shared = {"person": person, "csrf": csrf, "now": datetime.now(UTC)}
        return self.templates.TemplateResponse(request, name, shared | content, status_code=status)


def setting(request: Request) -> Setting:
    """Return what all pages share."""
    return request.app.state.setting


SettingOf = Annotated[Setting, Depends(setting)]


Text = Annotated[str, Form(pattern=r"^[^\x00]*$")]  # what a form says; a pattern takes no half characters either


def logged_in(request: Request, at: SettingOf) -> Person:
    """Return who asks; LoggedOutError where nobody is logged in."""
    with at.engine.connect() as connection:
        person = people.logged_in(connection, request.session.get("login", 0), now=datetime.now(UTC))
    if person is None:
        raise LoggedOutError
    return person


def check_csrf(request: Request, csrf: Text = "") -> None:
    """Raise 403 where a form is not of a page of this session."""
    token = request.session.get("csrf", "")
    if not (token and secrets.compare_digest(token.encode(), csrf.encode())):
        raise HTTPException(403, "this form is too old, or of another page: open the page anew")


PersonOf = Annotated[Person, Depends(logged_in)]
Number = Annotated[int, Path(ge=0, le=MOST)]
Name = Annotated[str, Path(pattern=f"^{topics.NAME}$")]  # a device's
CHECKED = [Depends(check_csrf)]


@router.get("/login")
def ask(request: Request, at: SettingOf) -> Response:
    """Return the page on which a person logs in."""
    return at.page(request, "login.html.j2", None, fault="")


@router.post("/login", dependencies=CHECKED)
def log_in(request: Request, at: SettingOf, name: Text = "", password: Text = "") -> Response:
    """Log a person in, or say that name or password is wrong, not which."""
    try:
        with at.engine.connect() as connection:
            address = request.client.host
            login = people.log_in(connection, name, password, address=address, now=datetime.now(UTC))
    except people.LockedError as e:
        return at.page(request, "login.html.j2", None, status=429, fault=str(e))
    if login is None:
        return at.page(request, "login.html.j2", None, status=401, fault="name or password is wrong")
    request.session.clear()
    request.session["login"] = login
    return RedirectResponse("/", 303)


@router.post("/logout", dependencies=CHECKED)
def log_out(request: Request, at: SettingOf, _: PersonOf) -> Response:
    """Log a person out."""
    with at.engine.begin() as connection:
        people.log_out(connection, request.session["login"], now=datetime.now(UTC))
    request.session.clear()
    return RedirectResponse("/login", 303)


@router.get("/")
def cases(request: Request, at: SettingOf, person: PersonOf, wanted: Annotated[listing.Filter, Query()]) -> Response:
    """Return the list of cases, those raised and those not."""
    raised, near = CASE.c.raised_at.isnot(None), CASE.c.raised_at.is_(None)
    with at.engine.connect() as connection:
        rows = listing.cases(connection, wanted, raised, most=listing.MOST)
        return at.page(
            request, "cases.html.j2", person, wanted=wanted, raised=rows,
            raised_count=listing.count(connection, wanted, raised),
            near=listing.cases(connection, wanted, near, most=listing.MOST),
            near_count=listing.count(connection, wanted, near), most=listing.MOST,
            acknowledge=listing.median_span(rows, "to_acknowledge"), decide=listing.median_span(rows, "to_decide"),
            places=maps.shown(connection, rows), states=list(decisions.State), no_site=listing.NO_SITE,
            sites=connection.execute(sql.select(SITE).order_by(SITE.c.name)).all(), query=request.url.query,
        )  # fmt: skip


@router.get("/cases.csv")
def as_csv(at: SettingOf, _: PersonOf, wanted: Annotated[listing.Filter, Query()]) -> Response:
    """Return all cases that are wanted as CSV."""
    with at.engine.connect() as connection:
        content = listing.as_csv(listing.cases(connection, wanted))
    return Response(content, media_type="text/csv", headers={"Content-Disposition": 'attachment; filename="cases.csv"'})


@router.get("/cases/{number}")
def case(request: Request, at: SettingOf, person: PersonOf, number: Number) -> Response:
    """Return the page of a case; of one that was merged into another, the way there."""
    with at.engine.connect() as connection:
        root = _root(connection, number)
        if root != number:
            return RedirectResponse(f"/cases/{root}", 303)
        content = details.case(connection, number, sr=at.sr, living=at.living)
        shown = maps.shown(connection, [content], site=content["site"])
    return at.page(
        request, "case.html.j2", person, case=content, places=shown, labels=decisions.LABELS,
        can_ask=folders.order_key(at.folder).exists(), live_s=sound.LIVE_S,
    )  # fmt: skip


@router.post("/cases/{number}", dependencies=CHECKED)
def decide(
    at: SettingOf, person: PersonOf, number: Number, kind: Annotated[Kind, Form()],
    seen: Annotated[int, Form(ge=0, le=MOST)], label: Annotated[str, Form()] = "", note: Annotated[str, Form()] = "",
) -> Response:  # fmt: skip
    """Write what a person decides; 403 for a viewer, 409 where another was quicker."""
    if not person.decides:
        raise HTTPException(403, f"{person.name} is a {person.role}: reviewers decide")
    try:
        with at.engine.begin() as connection:
            if (root := _root(connection, number)) != number:
                raise HTTPException(409, f"case {number} is part of case {root} by now: decide there")
            decisions.enter(
                connection, number, person.name, kind, label=label, note=note.strip(), seen=seen, now=datetime.now(UTC)
            )
            sound.keep(connection)
    except ValueError as e:
        raise HTTPException(409 if isinstance(e, decisions.ChangedError) else 422, str(e)) from None
    return RedirectResponse(f"/cases/{number}", 303)


def _root(connection: sql.Connection, number: int) -> int:
    root = details.root(connection, number)
    if root is None:
        raise HTTPException(404, f"there is no case {number}")
    return root


@router.get("/evidence/{device}/{session}/{incident}.png")
def picture(
    at: SettingOf, _: PersonOf, device: Name, session: Number, incident: Number,
) -> Response:  # fmt: skip
    """Return the log-mel of an incident's highest score as a picture."""
    with at.engine.connect() as connection:
        message = details.evidence(connection, device, session, incident)
    if message is None:
        raise HTTPException(404, "there is no log-mel of that incident")
    return Response(evidence.png(message.log_mel), media_type="image/png")


@router.get("/devices/{device}/near.png")
def near_miss(at: SettingOf, _: PersonOf, device: Name) -> Response:
    """Return the log-mel of a device's last near miss of which there is one, as a picture."""
    with at.engine.connect() as connection:
        beat = fleet.near_miss(connection, device, now=datetime.now(UTC))
    if beat is None:
        raise HTTPException(404, "there is no log-mel of a near miss of that device")
    return Response(evidence.png(beat.log_mel), media_type="image/png")


@router.get("/devices")
def devices(request: Request, at: SettingOf, person: PersonOf) -> Response:
    """Return the page of the devices."""
    now = datetime.now(UTC)
    with at.engine.connect() as connection:
        content = {"devices": fleet.devices(connection, at.noise, now=now), "rollout": fleet.rollout(connection)}
    return at.page(request, "devices.html.j2", person, **content)


@router.get("/events", response_class=EventSourceResponse)
async def events(request: Request, at: SettingOf, _: PersonOf) -> AsyncIterator[dict]:
    """Yield an event where something changed, and each SAY_S; it ends with the login, or the console."""
    login, token, said = request.session["login"], None, 0.0
    clock = asyncio.get_running_loop().time
    while not request.app.state.ends():
        now = await run_in_threadpool(_token, at.engine, login)
        if now is None:
            return
        if now != token or clock() - said >= SAY_S:
            token, said = now, clock()
            yield {"token": token} | await run_in_threadpool(_news, at)
        await asyncio.sleep(LOOK_S)


def _token(engine: sql.Engine, login: int) -> str | None:
    with engine.connect() as connection:
        person = people.logged_in(connection, login, now=datetime.now(UTC))
        return person and live.token(connection)


def _news(at: Setting) -> dict:
    now = datetime.now(UTC)
    with at.engine.connect() as connection:
        return live.waiting(connection, now=now) | {"quiet": live.is_quiet(connection, now=now, living=at.living)}
