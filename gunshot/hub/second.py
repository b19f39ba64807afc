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
from gunshot.models.model import Model, load_model, read_operating_point

LOOK_S = 1.0  # from one look for new clips to the next
MOST_SCORE = 65535

log = logging.getLogger("gunshot")


def load(path: Path, p: opinion.Sections) -> Model:
    """Return a hub's verifier. FileNotFoundError where it is not there, ValueError where it is none."""
    verifier = load_model(path)
    read_operating_point(path)
    opinion.check(verifier, p)
    return verifier


def keep(engine: sql.Engine, sound: Path, verifier: Model, p: opinion.Sections, stop: Event) -> None:
    """Judge clips as they come, until `stop` is set. `sound` is their folder."""
    while not stop.wait(LOOK_S):
        judge(engine, sound, verifier, p, now=datetime.now(UTC))


def judge(engine: sql.Engine, sound: Path, verifier: Model, p: opinion.Sections, *, now: datetime) -> None:
    """Give each new clip an opinion, where it holds the shot of the incident that it was ordered for."""
    o, new = ORDER.c, (CLIP.c.judged_at.is_(None), CLIP.c.deleted_at.is_(None))
    query = sql.select(CLIP, o.device, o.session.label("asked"), o.incident).join(ORDER, o.id == CLIP.c.order)
    with engine.connect() as connection:
        rows = connection.execute(query.where(*new)).all()
        values = {row.order: _opinion(connection, row, sound / row.file, verifier, p) for row in rows}
    for order, said in values.items():
        with engine.begin() as connection:
            connection.execute(sql.update(CLIP).where(CLIP.c.order == order).values(judged_at=now, **said))


def _opinion(connection: sql.Connection, clip: sql.Row, file: Path, verifier: Model, p: opinion.Sections) -> dict:
    """Return the opinion of a clip as its row has it, and nothing where there is none.

    It is of the message that has the incident's highest score. Where that tells several shots, nobody knows which one
    scored: the highest opinion counts.
    """
    message = clip.asked == clip.session and details.evidence(connection, clip.device, clip.asked, clip.incident)
    onsets = [onset - clip.start for onset in message.onsets] if message else []
    onsets = [onset for onset in onsets if 0 <= onset < clip.samples]
    if not onsets or clip.sr != p.audio.sr:
        return {}
    try:
        pcm, _ = sf.read(file, dtype="int16")
    except sf.LibsndfileError as e:
        log.warning("%s: no second opinion: %s", file, e.error_string)
        return {}
    log_mel = features.log_mel(pcm, sr=p.audio.sr, **p.features.model_dump())
    at = opinion.frames(np.array(onsets) / p.audio.sr, p)
    logit = opinion.of_frames(verifier, log_mel, at, p).astype(float).max()
    score = round(MOST_SCORE * float(verifier.calibrated(logit)))
    upheld = bool(logit >= read_operating_point(verifier.path)["logit"])
    return {"verifier": opinion.sha256(verifier.path)[:16], "opinion": score, "upheld": upheld}
