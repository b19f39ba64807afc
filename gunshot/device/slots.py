"""The images that this machine runs itself: which one a start runs, the one that it keeps or the one on trial.

An image is a zip: the model with its report and its operating point, and the params.yaml that it was made with. What a
start runs is looked at whole first, so that a loss of power at any byte leaves the image of before; without any it is
the model of this machine's own pipeline.
"""

import io
import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gunshot.device.images import CLASS, MOST_OVER, Images, Slot
from gunshot.device.releases import MOST_BYTES
from gunshot.signing import record

NAMES = MODEL, *_ = ("model.tflite", "report.json", "operating.json", "params.yaml")  # of an image
MOST_STARTS = 3  # of a trial of which the hub never has a message: after them it is over

log = logging.getLogger("gunshot")


class Slots(Images):
    """The images of a device's folder, with parameters and errors as `Images` has them."""

    def __init__(self, folder: Path, trusted: Mapping[str, Ed25519PublicKey] | None = None):
        super().__init__(folder, CLASS, trusted)
        self.running: Slot | None = None  # since the last `boot`
        self._chosen: str | None = None  # by it, whether it could be used or not

    @property
    def is_stale(self) -> bool:
        """Return whether another image is to run than the one that `boot` chose."""
        return self._lock.alive and self._chosen != _manifest(self.state.trial or self.state.kept)

    @property
    def is_on_trial(self) -> bool:
        """Return whether what runs is the trial."""
        return self.state.trial is not None and _manifest(self.running) == self.state.trial.manifest

    def boot(self) -> Path | None:
        """Choose what this start runs, and return the path of its model; None: the machine's own."""
        self.running = path = None
        for slot in filter(None, (self._counted(), self.state.kept)):
            try:
                path = self._unpacked(slot)
            except (ValueError, OSError) as e:
                log.warning("an image cannot be used: %s", e)
                if slot == self.state.trial:
                    self.end_trial(f"it cannot be used: {e}")
                continue
            self.running = slot
            break
        self._chosen = _manifest(self.state.trial or self.state.kept)
        return path

    def _counted(self) -> Slot | None:
        """Return the trial, whose start is counted on the disk before it can fail; None where it is not to run now."""
        trial = self.state.trial
        if trial and trial.starts >= MOST_STARTS:
            return self.end_trial(f"in {MOST_STARTS} starts the hub had no message of it")
        try:
            if trial:
                self._save(trial=trial.model_copy(update={"starts": trial.starts + 1}))
        except OSError as e:  # uncounted it could fail for ever
            log.warning("the image of before runs this time, as the start of the one on trial cannot be noted: %s", e)
            return None
        return self.state.trial

    def calm(self) -> None:
        """Note that the hub has a message of this start: a trial's starts are counted anew."""
        if self.is_on_trial and self.state.trial.starts:
            try:
                self._save(trial=self.state.trial.model_copy(update={"starts": 0}))
            except OSError as e:  # the next message does it
                log.warning("that the hub has a message of the image on trial cannot be noted: %s", e)

    def end_trial(self, why: str) -> None:
        """Run the image of before from the next start on, and never this trial again.

        On a full disk that holds for this process: another one may run the trial again, and is told anew.
        """
        order = self.state.trial.order
        over = (*self.state.over, order)[-MOST_OVER:]
        self._note("a trial is over", trial=None, over=over, last=(order, "back", why[:200]))

    def keep(self) -> None:
        """Keep the trial for good: from now on what is older is refused."""
        trial = self.state.trial
        number = self.manifest(trial).number
        kept = Slot(manifest=trial.manifest)
        self._save(kept=kept, trial=None, least=number, last=(trial.order, "kept", ""))
        self.running, self._chosen = kept, kept.manifest
        self._only(kept)  # the image of before goes

    def _unpacked(self, slot: Slot) -> Path:
        """Return the path of a slot's model, out of its image; ValueError or OSError where that is not whole."""
        contents = unpack(self._image(slot))
        folder = self.folder / "running"
        for name, content in contents.items():
            record.write(folder / name, content)
        return folder / MODEL


def _manifest(slot: Slot | None) -> str | None:
    return slot and slot.manifest


def pack(contents: Mapping[str, bytes]) -> bytes:
    """Return an image of files by NAMES: the same bytes for the same files."""
    if set(contents) != set(NAMES):
        raise ValueError(f"an image must hold {', '.join(NAMES)}, not {', '.join(sorted(contents))}")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in NAMES:
            entry = zipfile.ZipInfo(name)  # of 1980, as no zip is older
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, contents[name])
    return out.getvalue()


def unpack(image: bytes) -> dict[str, bytes]:
    """Return the files of an image by NAMES; ValueError where it has others, or too much."""
    try:
        with zipfile.ZipFile(io.BytesIO(image)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sorted(sizes) != sorted(NAMES) or sum(sizes.values()) > MOST_BYTES:
                raise ValueError(f"an image must hold {', '.join(NAMES)}, {MOST_BYTES} bytes at most")
            return {name: archive.read(name) for name in NAMES}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as e:
        raise ValueError(f"an image must be a zip: {e}") from None
