"""Sound that was ordered, as what a person decided that it is: recordings of the field, and their tags.

A clip becomes data/field/DEVICE/decision/LABEL/ORDER.wav. All is by the decision that holds: what was filed under
another one is moved, and what holds no longer is taken back.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import sqlalchemy as sql

from gunshot import tags
from gunshot.base import audio, tables
from gunshot.corpora.field import DECISION, LABELS
from gunshot.device.messages import State as Message
from gunshot.field import queue
from gunshot.hub.console import listing
from gunshot.hub.console.decisions import State
from gunshot.hub.database import CLIP, INCIDENT, ONSET, ORDER
from gunshot.hub.orders import WITHHELD, read
from gunshot.tags import catalogue

_INCIDENT = ("device", "session", "incident")
OVERRULED = "two persons wanted to hear what people say in them"
_NEW = {"exercise": False, "state": State.new}  # a case that came, or was merged, since the cases were listed


@dataclass(frozen=True)
class Clip:
    """A clip and what is to become of it: a label and the starts of its shots, or the reason why it is not filed."""

    order: str
    device: str
    file: str | None  # in the folder of clips; None: it was deleted
    sha256: str
    label: str | None = None
    starts: tuple[int, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        """Where it is filed, below data/field."""
        return f"{self.device}/{DECISION}/{self.label}/{self.order}.wav"


@dataclass(frozen=True)
class Summary:
    """What was done: counts of labels filed now, filed before, taken back, and of reasons why others are not filed."""

    filed: Counter
    before: int
    withdrawn: int
    left: Counter


def clips(connection: sql.Connection, *, sr: int) -> list[Clip]:
    """Return all clips, oldest first; each is filed by the cases of the incidents that are heard in it.

    One of them that was confirmed makes the clip's label that of a shot, and its tags their onsets; where all were
    dismissed its label is that of the first. Where one waits to be decided, the clip waits.
    """
    cases = {row["number"]: row for row in listing.cases(connection, listing.Filter())}
    query = sql.select(CLIP, ORDER.c.device, ORDER.c.note, ORDER.c.payload).join(ORDER, ORDER.c.id == CLIP.c.order)
    clips, seen = [], set()
    for row in connection.execute(query.order_by(CLIP.c.deleted_at.isnot(None), CLIP.c.written_at, CLIP.c.order)):
        heard = _heard(connection, row)
        known = (row.order, row.device, None if row.deleted_at else row.file, row.sha256)
        if row.sr != sr:
            fate = {"reason": f"at another rate than {sr} Hz"}
        elif read(row.payload).overruled:
            fate = {"reason": OVERRULED}
        elif (row.note or "").startswith(WITHHELD):
            fate = {"reason": "partly silence, where people spoke"}
        elif row.sha256 in seen:
            fate = {"reason": "the same sound as another"}
        else:
            fate = _fate(connection, row, heard, [cases.get(one.case, _NEW) for one in heard])
        seen.add(row.sha256)
        clips.append(Clip(*known, **fate))
    return clips


def _heard(connection: sql.Connection, clip: sql.Row) -> list[sql.Row]:
    """Return the incidents of which a clip has some sound, by their first onset."""
    i = INCIDENT.c
    of_device = i.device == clip.device, i.session == clip.session, i.state != Message.WITHDRAWN
    within = i.onset < clip.start + clip.samples, i.decided > clip.start
    return connection.execute(sql.select(INCIDENT).where(*of_device, *within).order_by(i.onset)).all()


def _fate(connection: sql.Connection, clip: sql.Row, heard: list[sql.Row], cases: list[dict]) -> dict:
    """Return label and starts, or reason, of a clip with the case of each incident that is heard in it."""
    if not heard:
        return {"reason": "no incident in them"}
    if any(case["exercise"] for case in cases):
        return {"reason": "of a drill"}
    if any(case["state"] not in (State.confirmed, State.dismissed) for case in cases):
        return {"reason": "to be decided"}
    shots = [one for one, case in zip(heard, cases, strict=True) if case["state"] == State.confirmed]
    if not shots:
        return {"label": cases[0]["label"]}
    starts = {onset - clip.start for one in shots for onset in _onsets(connection, one)}
    starts = tuple(sorted(start for start in starts if 0 <= start < clip.samples))
    return {"label": LABELS["gun"], "starts": starts} if starts else {"reason": "cut off before the shot"}


def _onsets(connection: sql.Connection, incident: sql.Row) -> list[int]:
    same = (ONSET.c[name] == getattr(incident, name) for name in _INCIDENT)
    return [incident.onset, *connection.scalars(sql.select(ONSET.c.onset).where(*same))]


def collect(clips: list[Clip], sound: Path, root: Path, corpus: Path, *, sr: int) -> Summary:
    """File clips below `root`, data/field, and return what was done; what `corpus` has imported is done.

    `sound` is the folder of clips. Killed at any time, the next call goes on: nothing has its tags before it is whole.

    Raises
    ------
    ValueError
        `tags.csv` cannot be read, or a clip's samples are not those of its row; nothing was filed.
    OSError
        A file cannot be read, written, or deleted.
    """
    placed, pcm = catalogue.read_file(root / "tags.csv"), {}
    here = {path.stem: path.relative_to(root).as_posix() for path in root.glob(f"*/{DECISION}/*/*.wav")}
    imported, left, before, new = _imported(corpus), Counter(), 0, {}
    for clip in clips:
        if clip.order in here:
            is_done = here[clip.order] == clip.name and tags.state(placed.get(clip.name)) == "confirmed"
        else:
            is_done = imported.get(clip.sha256) == clip.label
        if clip.label is None:
            left[f"{clip.reason}, and imported before" if clip.sha256 in imported else clip.reason] += 1
        elif is_done:
            before += 1
        elif clip.order in here or clip.file:
            new[clip.order] = clip
            if clip.order not in here:
                pcm[clip.order] = _samples(sound / clip.file, clip)
        else:
            left["deleted before they were decided so"] += 1
    back = [here[clip.order] for clip in clips if clip.label is None and clip.order in here]
    for error in queue.remove(root, back).values():
        raise error
    _file(root, new, here, pcm, sr=sr)
    return Summary(Counter(clip.label for clip in new.values()), before, len(back), left)


def _file(root: Path, new: dict[str, Clip], here: dict[str, str], pcm: dict, *, sr: int) -> None:
    """Write or move recordings, and then their tags."""
    moved = {order: here[order] for order, clip in new.items() if here.get(order, clip.name) != clip.name}
    if moved:
        tags.amend(root / "tags.csv", dict.fromkeys(moved.values()))
    for order, clip in new.items():
        if order in moved:
            (root / clip.name).parent.mkdir(parents=True, exist_ok=True)
            (root / moved[order]).replace(root / clip.name)
        elif order in pcm:
            audio.write_pcm(root / clip.name, pcm[order], sr=sr)
    if new:
        tags.amend(root / "tags.csv", {clip.name: [tags.Tag(start) for start in clip.starts] for clip in new.values()})


def _imported(corpus: Path) -> dict[str, str]:
    """Return the labels of a corpus's recordings, by the hash of their samples."""
    file = corpus / "recordings.csv"
    if not file.exists():
        return {}
    table = tables.read(file, tables.RECORDING)
    return dict(zip(table["sha256"], table["label"], strict=True))


def _samples(file: Path, clip: Clip) -> np.ndarray:
    """Return a clip's samples, int16 [shape=(n,)]; ValueError where they are not those that its device hashed."""
    try:
        pcm, _ = sf.read(file, dtype="int16")
    except sf.LibsndfileError as e:
        raise ValueError(f"{file}: cannot be read: {e.error_string}; restore it, or order the sound again") from None
    if audio.sha256(pcm) != clip.sha256:
        raise ValueError(f"{file}: its samples must be those of its row, sha256 {clip.sha256}; restore it")
    return pcm
