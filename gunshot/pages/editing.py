"""A recording's tags while a person works on them, with undo; and the desk on which all recordings of a folder lie."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gunshot import tags
from gunshot.base import audio
from gunshot.base.files import atomic
from gunshot.dataset import onsets
from gunshot.tags import Tag
from gunshot.tags.catalogue import SUFFIXES, Catalogue

APART_S = 0.01  # what is closer to a person's tag than this is the same shot


@dataclass
class Editor:
    """The tags of one recording, ascending; a window is the `chunk_length` samples from a tag."""

    length: int  # of the recording, samples
    chunk_length: int
    placed: list[Tag] = field(default_factory=list)
    line: list[Tag] | None = None  # what its tag file says, as last read or written
    _past: list[list[Tag]] = field(default_factory=list)
    _moving: int | None = None  # the start of the window that the last change moved

    @property
    def changed(self) -> bool:
        """Whether there is something to undo or to save."""
        return bool(self._past)

    @property
    def suggested(self) -> list[Tag]:
        """The automatic tags among them, which nobody has accepted yet."""
        return [tag for tag in self.placed if tag.confidence is not None]

    def under(self, position: int) -> Tag | None:
        """Return the window that holds a sample: of several the one that starts last."""
        held = [tag for tag in self.placed if tag.start <= position < tag.start + self.chunk_length]
        return held[-1] if held else None

    def beside(self, position: int, direction: int) -> int:
        """Return the start of the next window after (1) or before (-1) a sample; the sample where there is none."""
        starts = [tag.start for tag in self.placed if (tag.start - position) * direction > 0]
        return (min if direction > 0 else max)(starts, default=position)

    def place(self, start: int) -> None:
        """Place a window at a sample, a person's."""
        self._set([*self.placed, Tag(self._inside(start))])

    def move(self, tag: Tag, start: int) -> int:
        """Move a window, which makes it a person's, and return its new start; moves in a row are one step of undo."""
        start = self._inside(start)
        if start == tag.start:
            return start
        row = self._moving == tag.start
        self._set([other for other in self.placed if other != tag] + [Tag(start)], step=not row)
        self._moving = start
        return start

    def rest(self) -> None:
        """End a row of moves."""
        self._moving = None

    def delete(self, tag: Tag) -> None:
        """Delete a window, or reject a suggestion."""
        self._set([other for other in self.placed if other != tag])

    def accept(self, *accepted: Tag) -> None:
        """Make suggestions a person's tags."""
        self._set([Tag(tag.start) if tag in accepted else tag for tag in self.placed])

    def suggest(self, suggested: list[Tag], *, apart: int) -> None:
        """Replace the suggestions; what a person placed stays, and no suggestion lies closer to it than `apart`."""
        own = [tag for tag in self.placed if tag.confidence is None]
        self._set(own + [tag for tag in suggested if all(abs(tag.start - other.start) >= apart for other in own)])

    def undo(self) -> None:
        """Take the last step back."""
        if self._past:
            self.placed = self._past.pop()
            self.rest()

    def saved(self, line: list[Tag] | None, placed: list[Tag]) -> None:
        """Go on from what the tag file says now, with nothing to undo."""
        self.line, self.placed = line, tags.unique(placed)
        self._past.clear()
        self.rest()

    def windows(self, pcm: np.ndarray) -> dict[int, np.ndarray]:
        """Return the samples of each window by its tag; one past the end of `pcm` is moved inside.

        Raises
        ------
        ValueError
            The recording is shorter than a window.
        """
        if len(pcm) < self.chunk_length:
            raise ValueError(f"{len(pcm)} samples: a window has {self.chunk_length}, so that none can be cut")
        starts = {tag.start: min(tag.start, len(pcm) - self.chunk_length) for tag in self.placed}
        return {tag: np.array(pcm[start : start + self.chunk_length]) for tag, start in starts.items()}

    def _inside(self, start: int) -> int:
        return min(max(start, 0), self.length - 1)

    def _set(self, placed: list[Tag], *, step: bool = True) -> None:
        placed = tags.unique(placed)
        if placed != self.placed:
            if step:
                self._past.append(self.placed)
            self.placed = placed
        self.rest()


class Desk:
    """All recordings of a catalogue, with those editors that were opened; every browser works on the same.

    `onset` are the options of automatic onsets, None where none may be suggested. `scores` stand in the list, where
    the recordings come from the field.
    """

    def __init__(
        self, catalogue: Catalogue, *, sr: int, chunk_length: int, onset: dict | None, scores: dict | None = None
    ):
        self.catalogue, self.sr, self.chunk_length = catalogue, sr, chunk_length
        self.scores = scores
        self.onset = onset
        self._found: dict[str, list[Tag]] = {}
        self._editors: dict[str, Editor] = {}
        self._listeners: list[Callable[[str], None]] = []

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with the key of whatever is changed; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, key: str) -> None:
        """Tell every browser that a recording's tags were changed."""
        for listener in list(self._listeners):
            listener(key)

    def rows(self) -> list[dict]:
        """Return the rows of all recordings, from what the tag files say now."""
        self._found, _ = self.catalogue.read()
        return [self.row(key) for key in self.catalogue.recordings]

    def row(self, key: str) -> dict:
        """Return what the list shows of a recording: key, state (* where unsaved), number of tags, perhaps score."""
        editor, state = self._editors.get(key), tags.state(self._found.get(key))
        shown = editor.placed if editor else self._found.get(key, [])
        row = {
            "recording": key,
            "state": f"{state} *" if editor and editor.changed else state,
            "tags": len(shown),
        }
        if self.scores is None:
            return row
        score = self.scores.get(key)
        return row | {"score": None if score is None else round(score, 3)}

    def editor(self, key: str) -> Editor:
        """Return the editor of a recording that was opened."""
        return self._editors[key]

    def open(self, key: str, length: int) -> Editor:
        """Return the editor of a recording of `length` samples; what is unsaved stays, else its tags are read anew."""
        editor = self._editors.setdefault(key, Editor(length, self.chunk_length))
        if not editor.changed:
            self._load(key, editor)
        return editor

    def reload(self, key: str) -> None:
        """Take what the tag files say, in place of what is unsaved."""
        self._load(key, self._editors[key])
        self.tell(key)

    @property
    def open_to_more(self) -> bool:
        """Whether recordings can be added: data/raw is immutable, and data/field is for devices."""
        return self.catalogue.home.by_hand is None and self.scores is None

    def add(self, name: str, content: bytes) -> str:
        """Put a file that a browser sent into the folder, and return its key.

        Raises
        ------
        ValueError
            Its name is taken or has another suffix than audio has, or it is no audio; nothing is written then.
        """
        file = self.catalogue.home.root / Path(name).name
        if file.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{file.name}: suffix={file.suffix!r} must be one of {', '.join(SUFFIXES)}")
        if file.exists():
            raise ValueError(f"{file.name}: a recording of that name is there; rename one of the two")
        with atomic(file) as part:
            part.write_bytes(content)
            try:
                audio.header(part)
            except audio.AudioError as e:
                raise audio.AudioError(file.name, e.value, e.rule) from None
        key = self.catalogue.home.key(file)
        self.catalogue.recordings[key] = file
        self.tell(key)
        return key

    def suggest(self, key: str, pcm: np.ndarray) -> int:
        """Suggest automatic onsets and return their number."""
        suggested = onsets.find(np.asarray(pcm), sr=self.sr, **self.onset)
        self._editors[key].suggest(suggested, apart=round(APART_S * self.sr))
        self.tell(key)
        return len(suggested)

    def save(self, key: str, *, force: bool = False) -> list[Tag]:
        """Write a recording's tags as confirmed, suggestions among them as accepted, and return them.

        Raises
        ------
        gunshot.tags.ChangedError
            Its line was changed on disk since it was read; `force` overwrites it.
        """
        editor = self._editors[key]
        confirmed = [Tag(tag.start) for tag in editor.placed]
        tags.amend(self._file(key), {key: confirmed}, None if force else {key: editor.line})
        editor.saved(confirmed, confirmed)
        self._found[key] = confirmed
        self.tell(key)
        return confirmed

    def split(self, key: str, pcm: np.ndarray, out: Path) -> list[Path]:
        """Write each window of a recording as a wav below `out`, and return the files."""
        stem = Path(key).with_suffix("").as_posix()
        windows = self._editors[key].windows(pcm)
        files = [out / f"{stem}_{start}.wav" for start in windows]
        for file, window in zip(files, windows.values(), strict=True):
            audio.write_pcm(file, window, sr=self.sr)
        return files

    def _file(self, key: str) -> Path:
        return self.catalogue.home.file(key)

    def _load(self, key: str, editor: Editor) -> None:
        file = self._file(key)
        lines, _ = tags.read(file) if file.exists() else ({}, [])
        self._found, _ = self.catalogue.read()
        editor.saved(lines.get(key), self._found.get(key, []))
