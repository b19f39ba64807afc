"""The console's addresses of sound: who asks for it, its clips, and live sound as it comes."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sql
from fastapi import APIRouter, Form, HTTPException, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gunshot.device.orders import ID
from gunshot.hub import folder, orders
from gunshot.hub.console import people, sound
from gunshot.hub.console.routes import CHECKED, Name, Number, PersonOf, SettingOf
from gunshot.hub.database import CLIP, INCIDENT
from gunshot.signing import keys

LOOK_S = 0.1  # between two looks at whether a part has come

router = APIRouter()
Id = Annotated[str, Path(pattern=ID)]


@router.post("/incidents/{device}/{session}/{incident}/orders", dependencies=CHECKED)
def order(
    at: SettingOf, person: PersonOf, device: Name, session: Number, incident: Number,
    reason: Annotated[str, Form(pattern=r"^[^\x00]*$")] = "", live: Annotated[bool, Form()] = False,
) -> Response:  # fmt: skip
    """Ask for the sound of an incident, or for live sound because of it; 403 for a viewer, or without the key."""
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
            if live:
                span = orders.of_time(now, sound.LIVE_S, session=session, incident=incident)
            who = {"reason": reason.strip(), "person": person.name}
            id = orders.ask(connection, keys.load(file), device, span, **who, now=now)
    except ValueError as e:
        raise HTTPException(422, str(e)) from None
    return RedirectResponse(f"/cases/{case}#order-{id}", 303)


@router.get("/clips/{id}.flac")
def clip(at: SettingOf, _: PersonOf, id: Id) -> Response:
    """Return the clip that an order brought; 410 where it was deleted."""
    with at.engine.connect() as connection:
        row = connection.execute(sql.select(CLIP.c.file, CLIP.c.deleted_at).where(CLIP.c.order == id)).first()
    if row is None:
        raise HTTPException(404, "there is no clip of that order")
    file = at.folder / orders.SOUND / row.file
    if row.deleted_at or not file.exists():
        raise HTTPException(410, "this clip was deleted")
    return FileResponse(file, media_type="audio/flac")


@router.get("/orders/{id}/live", response_class=EventSourceResponse)
async def live(request: Request, at: SettingOf, _: PersonOf, id: Id) -> AsyncIterator[ServerSentEvent]:
    """Yield the parts of an order's sound as they come, from the newest on: FLAC files in base64.

    An event `end` is the last: the order or the login has ended. Where the console ends there is none.
    """
    login, last = request.session["login"], -1
    while (new := await run_in_threadpool(_since, at.engine, login, id, last)) is not None:
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
