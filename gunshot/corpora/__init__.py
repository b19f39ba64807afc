"""Corpora: the layouts in which recordings come, and their import into data/raw."""

from pathlib import Path

from gunshot.corpora import esc50, folder, takes, urbansound8k
from gunshot.corpora.importing import Summary, import_corpus
from gunshot.corpora.sources import Source

__all__ = ["Source", "Summary", "detect", "import_corpus", "layouts"]

layouts = {
    "esc50": esc50.scan,
    "folder": folder.scan,
    "freefirearm": takes.freefirearm,
    "kaggle-gunshots": takes.kaggle_gunshots,
    "urbansound8k": urbansound8k.scan,
}


def detect(root: Path | str) -> str:
    """Return the name of the layout that a folder has; ValueError names what was looked for."""
    root = Path(root)
    if (root / urbansound8k.METADATA).is_file():
        return "urbansound8k"
    if (root / esc50.METADATA).is_file():
        return "esc50"
    if any((root / c).is_dir() for c in folder.CLASSES):
        return "folder"
    raise ValueError(
        f"{root}: must be a folder that holds gun/ or env/ (layout folder) {urbansound8k.METADATA} "
        f"(layout urbansound8k) or {esc50.METADATA} (layout esc50)"
    )
