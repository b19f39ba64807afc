"""The console's addresses of sound and video: who asks for them, clips, and what comes live.

Nobody is sent a byte of them before the chain of what persons did says so.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sql
from fastapi import APIRouter, Form, HTTPException, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gunshot.device.orders import ID, Kind
from gunshot.hub import audit, folder, orders
from gunshot.hub.console import people, sound
from gunshot.hub.console.routes import CHECKED, Name, Number, PersonOf, Setting, SettingOf
from gunshot.hub.database import CLIP, INCIDENT, ORDER, VIDEO
from gunshot.signing import keys

LOOK_S = 0.1  # between two looks at whether a part has come

router = APIRouter()
Id = Annotated[str, Path(pattern=ID)]


@router.post("/incidents/{device}/{session}/{incident}/orders", dependencies=CHECKED)
def order(
    at: SettingOf, person: PersonOf, device: Name, session: Number, incident: Number,
    reason: Annotated[str, Form(pattern=r"^[^\x00]*$")] = "", live: Annotated[bool, Form()] = False,
    video: Annotated[bool, Form()] = False,
) -> Response:  # fmt: skip
    """Ask for the sound of an incident, or for live sound or video because of it; 403: a viewer, or without the key."""
    if not person.decides:
        raise HTTPException(403, f"{person.name} is a {person.role}: reviewers ask for sound")
    file = folder.order_key(at.folder)
    if not file.exists():
        raise HTTPException(403, "the hub's folder has no authority/order.pem: `gunshot hub order` asks where it is")
    now = datetime.now(UTC)
    key = INCIDENT.c.device == device, INCIDENT.c.session == session, INCIDENT.c.incident == incident
    try:
        with at.engine.begin() as connection:
            case = connection.scalar(sql.select(INCIDENT.c.case).where(*key))
            if case is None:
                raise HTTPException(404, f"{device} has no incident {session}/{incident} of a case")
            span = orders.of_incident(connection, device, session, incident, sr=at.sr)
            if live or video:
                kind = Kind.video if video else Kind.sound
                span = orders.of_time(now, sound.LIVE_S, session=session, incident=incident, kind=kind)
            who = {"reason": reason.strip(), "person": person.name}
            id = orders.ask(connection, keys.load(file), device, span, **who, now=now)
    except ValueError as e:
        raise HTTPException(422, str(e)) from None
    return RedirectResponse(f"/cases/{case}#order-{id}", 303)


def _enter(at: Setting, listener: tuple[str, int], order: str, what: str) -> None:
    """Enter who, a person and the login, hears or sees what an order brought.

    Once a login: a player asks for a file in many parts.
    """
    (person, login), key = listener, (*listener, order, what)
    if key not in at.listeners:
        with at.engine.begin() as connection:
            audit.enter_listener(connection, person, login=login, order=order, what=what, now=datetime.now(UTC))
        at.listeners.add(key)


@router.get("/clips/{id}.flac")
def clip(request: Request, at: SettingOf, person: PersonOf, id: Id) -> Response:
    """Return the clip that an order brought; 410 where it was deleted."""
    with at.engine.connect() as connection:
        row = connection.execute(sql.select(CLIP.c.file, CLIP.c.deleted_at).where(CLIP.c.order == id)).first()
    if row is None:
        raise HTTPException(404, "there is no clip of that order")
    file = at.folder / orders.SOUND / row.file
    if row.deleted_at or not file.exists():
        raise HTTPException(410, "this clip was deleted")
    _enter(at, (person.name, request.session["login"]), id, "clip")
    return FileResponse(file, media_type="audio/flac")


@router.get("/videos/{id}.mp4")
def video(request: Request, at: SettingOf, person: PersonOf, id: Id) -> Response:
    """Return the video that an order brought, or what has come of it, and then the rest as it comes.

    204 where it brought none, 410 where it was deleted.
    """
    listener = person.name, request.session["login"]
    with at.engine.connect() as connection:
        row = connection.execute(sql.select(VIDEO.c.file, VIDEO.c.deleted_at).where(VIDEO.c.order == id)).first()
        state = connection.scalar(sql.select(ORDER.c.state).where(ORDER.c.id == id))
    if row is None and state == orders.OPEN:
        return StreamingResponse(_shown(request, at, listener, id), media_type="video/mp4")
    if row is None and state:  # it was refused since the page was made: to a browser no error
        return Response(status_code=204)
    if row is None:
        raise HTTPException(404, "there is no such order")
    file = at.folder / orders.SOUND / row.file
    if row.deleted_at or not file.exists():
        raise HTTPException(410, "this video was deleted")
    _enter(at, listener, id, "video")
    return FileResponse(file, media_type="video/mp4")


async def _shown(request: Request, at: Setting, listener: tuple[str, int], id: str) -> AsyncIterator[bytes]:
    """Yield an order's video as it comes, until it, the login or the console has ended."""
    (_, login), count, size = listener, 0, 0
    while not request.app.state.ends():
        new = await run_in_threadpool(_shown_since, at.engine, login, id, count)
        contents = [await run_in_threadpool(_rest, at, login, id, size)] if new is None else new
        if any(contents):
            await run_in_threadpool(_enter, at, listener, id, "video")
        for content in contents:
            count, size = count + 1, size + len(content)
            yield content
        if new is None:
            return
        await asyncio.sleep(LOOK_S)


def _shown_since(engine: sql.Engine, login: int, order: str, count: int) -> list[bytes] | None:
    with engine.connect() as connection:
        person = people.logged_in(connection, login, now=datetime.now(UTC))
        return person and sound.shown(connection, order, count)


def _rest(at: Setting, login: int, order: str, size: int) -> bytes:
    """Return what is in an order's file after its first bytes, which were sent."""
    with at.engine.connect() as connection:
        if not people.logged_in(connection, login, now=datetime.now(UTC)):
            return b""
        file = connection.scalar(sql.select(VIDEO.c.file).where(VIDEO.c.order == order, VIDEO.c.deleted_at.is_(None)))
    return (at.folder / orders.SOUND / file).read_bytes()[size:] if file else b""


@router.get("/orders/{id}/live", response_class=EventSourceResponse)
async def live(request: Request, at: SettingOf, person: PersonOf, id: Id) -> AsyncIterator[ServerSentEvent]:
    """Yield the parts of an order's sound as they come, from the newest on: FLAC files in base64.

    An event `end` is the last: the order or the login has ended. Where the console ends there is none.
    """
    login, last = request.session["login"], -1
    while (new := await run_in_threadpool(_since, at.engine, login, id, last)) is not None:
        if new:
            await run_in_threadpool(_enter, at, (person.name, login), id, "live")
        for number, content in new:
            last = number
            yield ServerSentEvent(raw_data=base64.b64encode(content).decode())
        if request.app.state.ends():
            return
        await asyncio.sleep(LOOK_S)
    yield ServerSentEvent(event="end", raw_data="")


def _since(engine: sql.Engine, login: int, order: str, last: int) -> list[tuple[int, bytes]] | None:
    with engine.connect() as connection:
        person = people.logged_in(connection, login, now=datetime.now(UTC))
        return person and sound.since(connection, order, last)
