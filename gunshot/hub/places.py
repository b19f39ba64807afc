"""Where the shots of cases were fired, by each device's first onset: worked out after the intake, which waits for none.

A place of six devices takes a fifth of a second. An alert only marks its case; what came meanwhile is one more place.
The sound of an order marks it too: it makes the onsets of devices finer.
"""

import dataclasses
import logging
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Event

import numpy as np
import soundfile as sf
import sqlalchemy as sql

from gunshot.device.messages import State
from gunshot.hub import interchange, plane, refine
from gunshot.hub.database import CASE, CLIP, DEVICE, INCIDENT, ORDER, SITE
from gunshot.hub.interchange import READ_ERROR_C, UNREAD_C, UNREAD_ERROR_C
from gunshot.hub.location import ONSET_ERROR_S, Arrival, locate

PAUSE_S = 0.2  # between two looks for cases that are due
REMEMBERED = 1000  # places: most messages of a case change no device's first onset
UNPLACED, UNTIMED = "where it stands is not known", "its clock is not disciplined"  # why a device is left out
NOBODY = "no device that heard it knows the time and stands at a known place"

log = logging.getLogger("gunshot")


def keep(engine: sql.Engine, sound: Path, stop: Event) -> None:
    """Work out the places that are due, until `stop` is set. `sound` is the folder of clips."""
    while not stop.wait(PAUSE_S):
        work(engine, sound, stop)


def work(engine: sql.Engine, sound: Path, stop: Event) -> None:
    """Work out the places that are due now, the newest cases first; what a moment brings is written together."""
    with engine.connect() as connection:
        due = connection.execute(sql.select(CASE).where(CASE.c.place_due).order_by(CASE.c.number.desc())).all()
    done, since = [], time.monotonic()
    for case in due:
        if stop.is_set():
            break
        done.append((case, *_values(engine, sound, case)))
        if time.monotonic() - since >= PAUSE_S:
            _write(engine, done)
            done, since = [], time.monotonic()
    _write(engine, done)


def _values(engine: sql.Engine, sound: Path, case: sql.Row) -> tuple[dict, list[sql.Row]]:
    """Return a case's columns of where it was fired, and the clips that there were."""
    counted = INCIDENT.c.case == case.number, INCIDENT.c.state != State.WITHDRAWN
    columns = INCIDENT.c.device, INCIDENT.c.unix_us, INCIDENT.c.error_us, DEVICE.c.latitude, DEVICE.c.longitude
    columns += INCIDENT.c.session, INCIDENT.c.onset
    with engine.connect() as connection:
        rows = connection.execute(sql.select(*columns).join(DEVICE).where(*counted).order_by(*columns)).all()
        temperature_c = connection.scalar(sql.select(SITE.c.temperature_c).where(SITE.c.name == case.site))
        clips = _clips(connection, case.number)
    return _place(rows, clips, sound, temperature_c), clips


def _clips(connection: sql.Connection, case: int) -> list[sql.Row]:
    """Return the clips that hold an incident's onset, with its device, session and onset, in an order that stays."""
    same = INCIDENT.c.device == ORDER.c.device, INCIDENT.c.session == CLIP.c.session
    within = INCIDENT.c.onset >= CLIP.c.start, INCIDENT.c.onset < CLIP.c.start + CLIP.c.samples
    columns = (
        CLIP.c.order,
        CLIP.c.file,
        CLIP.c.start,
        CLIP.c.sr,
        INCIDENT.c.device,
        INCIDENT.c.session,
        INCIDENT.c.onset,
    )
    query = sql.select(*columns).join(ORDER, ORDER.c.id == CLIP.c.order).join(INCIDENT, sql.and_(*same, *within))
    query = query.where(INCIDENT.c.case == case, CLIP.c.deleted_at.is_(None)).order_by(CLIP.c.order)
    return list(connection.execute(query))


def _write(engine: sql.Engine, done: list[tuple[sql.Row, dict, list[sql.Row]]]) -> None:
    """Write where cases were fired; one of which a message or sound came meanwhile, or just comes, stays due.

    It waits for no row: the intake writes several cases too, in its own order, and would wait for this one in turn.
    """
    if not done:
        return
    with engine.begin() as connection:
        mine = CASE.c.number.in_([case.number for case, *_ in done])
        locked = sql.select(CASE.c.number).where(mine).with_for_update(key_share=True, skip_locked=True)
        free = set(connection.scalars(locked))
        for case, values, clips in done:
            if case.number not in free or clips != _clips(connection, case.number):
                continue
            if any(getattr(case, name) != value for name, value in values.items()):
                values = values | {"changed_at": datetime.now(UTC)}
            same = CASE.c.number == case.number, CASE.c.changed_at == case.changed_at
            connection.execute(sql.update(CASE).where(*same).values(**values, place_due=False))


def _place(rows: list[sql.Row], clips: list[sql.Row], sound: Path, temperature_c: float | None) -> dict:
    """Return a case's columns of where it was fired, from its incidents by device and time, and their sound."""
    first: dict[str, sql.Row] = {}
    unused = {row.device: UNTIMED if row.latitude is not None else UNPLACED for row in rows}
    for row in rows:
        if row.unix_us is not None and row.latitude is not None and row.device not in first:
            first[row.device] = row
            del unused[row.device]
    finer_us = _finer(first, clips, sound)
    onsets = tuple(
        (name, finer_us.get(name, row.unix_us), name in finer_us, row.error_us, row.latitude, row.longitude)
        for name, row in first.items()
    )
    return _located(onsets, tuple(unused.items()), temperature_c)


def _finer(first: dict[str, sql.Row], clips: list[sql.Row], sound: Path) -> dict[str, int]:
    """Return the onsets by device, microseconds, that their sound makes finer."""
    heard, rates = {}, set()
    for clip in clips:
        row = first.get(clip.device)
        if row and (row.session, row.onset) == (clip.session, clip.onset) and (pcm := _around(clip, sound)) is not None:
            heard[clip.device] = pcm
            rates.add(clip.sr)
    if len(heard) < refine.FEWEST or len(rates) > 1:
        return {}
    start_us = min(row.unix_us for row in first.values())
    onset_s = {name: (row.unix_us - start_us) / 1e6 for name, row in first.items()}
    return {name: start_us + round(s * 1e6) for name, s in refine.finer(onset_s, heard, sr=rates.pop()).items()}


def _around(clip: sql.Row, sound: Path) -> np.ndarray | None:
    """Return the sound around an onset, where a clip has all of it; an odd file must not end the hub."""
    start = clip.onset - clip.start - round(refine.BEFORE_S * clip.sr)
    size = round((refine.BEFORE_S + refine.AFTER_S) * clip.sr)
    if start < 0:
        return None
    try:
        pcm, _ = sf.read(sound / clip.file, frames=size, start=start, dtype="int16")
    except (OSError, sf.SoundFileError) as e:
        log.warning("%s: no finer onset: %s", sound / clip.file, e)
        return None
    return pcm if len(pcm) == size else None


@lru_cache(REMEMBERED)
def _located(onsets: tuple, unused: tuple, temperature_c: float | None) -> dict:
    """Return columns of a place, from devices with their first onset in us, whether that is finer, and their clock's
    error in us, latitude and longitude.
    """
    if not onsets:
        return {"latitude": None, "longitude": None, "place": None, "no_place": NOBODY}
    names, unix_us, are_finer, error_us, lat, lon = zip(*onsets, strict=True)
    origin = plane.middle(lat, lon)
    place = plane.metres(lat, lon, origin=origin).tolist()
    arrivals = [
        # No clock is sure to less than a microsecond.
        Arrival(name, *at, time / 1e6, max(error, 1) / 1e6, refine.ERROR_S if is_finer else ONSET_ERROR_S)
        for name, at, time, error, is_finer in zip(names, place, unix_us, error_us, are_finer, strict=True)
    ]
    air_c, error_c = (UNREAD_C, UNREAD_ERROR_C) if temperature_c is None else (temperature_c, READ_ERROR_C)
    at = locate(arrivals, temperature_c=air_c, temperature_error_c=error_c)
    at = dataclasses.replace(at, left_out=at.left_out | dict(unused))
    feature = interchange.feature(at, interchange.Onsets(arrivals, origin, dated=True))
    longitude, latitude = feature["properties"].get("position", (None, None))
    longitude = longitude and (longitude + 180) % 360 - 180  # where devices stand on both sides of the date line
    return {"latitude": latitude, "longitude": longitude, "place": feature, "no_place": at.reason or None}
