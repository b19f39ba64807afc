"""Recordings as the pipeline hears them, for the server to draw and the browser to play."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from scipy.io import wavfile

from gunshot.base import audio
from gunshot.base.files import atomic
from gunshot.pages.drawing import Drawing

KEPT = 4  # recordings whose drawings stay in memory


class Sound(NamedTuple):
    """A recording: its drawing, which holds its samples memory-mapped, and the name of its wav in the folder."""

    drawing: Drawing
    name: str


class Sounds:
    """Wavs of 16-bit mono at `sr` Hz in a folder of its own: links to recordings that are so, copies of the others.

    The folder is what a server hands to browsers, so that they get listed recordings and nothing else.
    """

    def __init__(self, recordings: dict[str, Path], folder: Path, *, sr: int):
        self._recordings, self._folder, self._sr = recordings, folder, sr
        self._kept: OrderedDict[str, Sound] = OrderedDict()

    def get(self, key: str) -> Sound:
        """Return a recording.

        Raises
        ------
        gunshot.base.audio.AudioError
            It is gone, or is no audio.
        """
        file = self._recordings[key]
        try:
            stat = file.stat()
        except OSError as e:
            raise audio.AudioError(file, e.strerror, "the recording must be there; its tags stay as they are") from None
        stamp = f"{key}\0{stat.st_mtime_ns}\0{stat.st_size}"
        name = f"{hashlib.sha256(stamp.encode()).hexdigest()[:24]}.wav"
        if name not in self._kept:
            self._kept[name] = Sound(Drawing(self._map(file, self._folder / name)), name)
            if len(self._kept) > KEPT:
                self._drop()
        self._kept.move_to_end(name)
        return self._kept[name]

    def _drop(self) -> None:
        name, _ = self._kept.popitem(last=False)
        (self._folder / name).unlink(missing_ok=True)

    def _map(self, file: Path, wav: Path) -> np.ndarray:
        try:
            audio.read_pcm(file, sr=self._sr, frames=0)
            if not wav.exists():
                wav.symlink_to(file.absolute())
        except audio.AudioError:
            with atomic(wav) as part, sf.SoundFile(part, "w", self._sr, 1, format="WAV", subtype="PCM_16") as out:
                for y in audio.blocks(file, sr=self._sr):
                    out.write(audio.to_int16(y))
        try:
            pcm = wavfile.read(wav, mmap=True)[1]
        except ValueError as e:
            raise audio.AudioError(file, str(e), "a recording must be a whole wav") from None
        if not len(pcm):
            raise audio.AudioError(file, "0 samples", "a recording must not be empty")
        return pcm
