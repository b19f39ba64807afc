"""The hub's second opinion: its verifier on the sound that orders brought, stored with the clip and never acted on."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import numpy as np
import soundfile as sf
import sqlalchemy as sql

from gunshot import features
from gunshot.detect import opinion
from gunshot.hub.console import details
from gunshot.hub.database import CLIP, ORDER
from gunshot.hub.orders import WITHHELD
from gunshot.models.model import Model, read_operating_point

LOOK_S = 1.0  # from one look for new clips to the next
MOST_SCORE = 65535

log = logging.getLogger("gunshot")


def keep(engine: sql.Engine, sound: Path, verifier: Model, p: opinion.Sections, stop: Event) -> None:
    """Judge clips as they come, until `stop` is set. `sound` is their folder."""
    while not stop.wait(LOOK_S):
        judge(engine, sound, verifier, p, stop, now=datetime.now(UTC))


def judge(
    engine: sql.Engine, sound: Path, verifier: Model, p: opinion.Sections, stop: Event, *, now: datetime
) -> None:  # fmt: skip
    """Give each new clip an opinion, where it holds the shots of the incident that it was ordered for."""
    o, new = ORDER.c, (CLIP.c.judged_at.is_(None), CLIP.c.deleted_at.is_(None))
    query = sql.select(CLIP, o.device, o.session.label("asked"), o.incident, o.note).join(ORDER, o.id == CLIP.c.order)
    with engine.connect() as connection:
        clips = [(clip, _onsets(connection, clip)) for clip in connection.execute(query.where(*new)).all()]
    for clip, onsets in clips:
        if stop.is_set():
            return
        file, said = sound / clip.file, {}
        try:
            said = _opinion(clip, onsets, file, verifier, p)
        except Exception as e:  # whatever is odd in a clip must not end the hub, now and at each start
            log.warning("%s: no second opinion: %s: %s", file, type(e).__name__, e)
        with engine.begin() as connection:
            connection.execute(sql.update(CLIP).where(CLIP.c.order == clip.order).values(judged_at=now, **said))


def _onsets(connection: sql.Connection, clip: sql.Row) -> list[int]:
    """Return the onsets, by a clip's samples, of the message that has the highest score of its incident."""
    message = clip.asked == clip.session and details.evidence(connection, clip.device, clip.asked, clip.incident)
    return [onset - clip.start for onset in message.onsets] if message else []


def _opinion(clip: sql.Row, onsets: list[int], file: Path, verifier: Model, p: opinion.Sections) -> dict:
    """Return the opinion of a clip as its row has it, and nothing where there is none.

    Nobody knows which of several shots of a message scored: the highest opinion counts. So there is none where
    something of what the verifier would hear of any is not in the clip, or where a device withheld some of it.
    """
    if not onsets or clip.sr != p.audio.sr or (clip.note or "").startswith(WITHHELD):
        return {}
    pcm, _ = sf.read(file, dtype="int16")
    at, f, v = opinion.frames(np.array(onsets) / p.audio.sr, p), p.features, p.verifier
    there = features.frames(len(pcm), n_fft=f.n_fft, hop_length=f.hop_length)
    if at.min() < v.before or at.max() - v.before + v.frames > there:
        return {}
    log_mel = features.log_mel(pcm, sr=p.audio.sr, **f.model_dump())
    logit = opinion.of_frames(verifier, log_mel, at, p).astype(float).max()
    score = round(MOST_SCORE * float(verifier.calibrated(logit)))
    upheld = bool(logit >= read_operating_point(verifier.path)["logit"])
    return {"verifier": opinion.sha256(verifier.path)[:16], "opinion": score, "upheld": upheld}
