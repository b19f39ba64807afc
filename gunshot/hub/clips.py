"""What an order brought, put together of its parts: sound as a FLAC file, video as the MP4 file that the device cut.

Each is in the hub's folder of clips, with a row in the database.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sql

from gunshot.base import audio
from gunshot.device import parts
from gunshot.device.parts import End, Part, VideoPart
from gunshot.hub.database import CASE, CLIP, INCIDENT, ORDER, VIDEO
from gunshot.signing import record

Replies = list[tuple[Part | VideoPart | End, bytes]]  # by number


class Joined(NamedTuple):
    """What came: the last reply where it is an end, the hash of what was written, and how long it is silent."""

    end: End | None
    sha256: str
    withheld_s: float = 0.0


def sound(connection: sql.Connection, order: str, replies: Replies, *, folder: Path, now: datetime) -> Joined:
    """Write the sound of the parts that follow each other from the first on, where there is any."""
    run, pcm, end = _samples(replies)
    sha256 = audio.sha256(pcm)
    if run:
        file = f"{order}.flac"
        record.write(folder / file, parts.to_flac(pcm, run[0].sr))
        values = {
            "order": order, "file": file, "session": run[0].session, "start": run[0].start, "samples": len(pcm),
            "sr": run[0].sr, "sha256": sha256, "kept": False, "written_at": now,
        }  # fmt: skip
        connection.execute(sql.insert(CLIP).values(values))
        _make_due(connection, order, values)
    return Joined(end, sha256, sum(said.samples / said.sr for said in run if said.withheld))


def _make_due(connection: sql.Connection, order: str, clip: dict) -> None:
    """Have the places of cases worked out anew whose onsets a clip holds."""
    device = sql.select(ORDER.c.device).where(ORDER.c.id == order).scalar_subquery()
    held = INCIDENT.c.onset.between(clip["start"], clip["start"] + clip["samples"])
    cases = sql.select(INCIDENT.c.case).where(INCIDENT.c.device == device, INCIDENT.c.session == clip["session"], held)
    connection.execute(sql.update(CASE).where(CASE.c.number.in_(cases)).values(place_due=True))


def _samples(replies: Replies) -> tuple[list[Part], np.ndarray, End | None]:
    """Return the parts that follow each other from the first on, their samples [shape=(n,)], and the end."""
    run, pcm, end = [], [np.zeros(0, np.int16)], None
    for number, (said, content) in enumerate(replies):
        if isinstance(said, End):
            end = said
            break
        before = run[-1] if run else None
        expected = before and (before.session, before.sr, before.start + before.samples)
        if said.number != number or (expected and (said.session, said.sr, said.start) != expected):
            break
        run.append(said)
        pcm.append(parts.samples(said, content))
    return run, np.concatenate(pcm), end


def video(connection: sql.Connection, order: str, replies: Replies, *, folder: Path, now: datetime) -> Joined:
    """Write the video of the parts that follow each other from the first on, where there is any."""
    pieces, end = [], None
    for number, (said, content) in enumerate(replies):
        if isinstance(said, End):
            end = said
            break
        if said.number != number:
            break
        pieces.append(content)
    content = b"".join(pieces)
    sha256 = hashlib.sha256(content).hexdigest()
    if pieces:
        file = f"{order}.mp4"
        record.write(folder / file, content)
        values = {"order": order, "file": file, "bytes": len(content), "sha256": sha256}
        connection.execute(sql.insert(VIDEO).values(**values, kept=False, written_at=now))
    return Joined(end, sha256)
