"""Corpora: the layouts in which recordings come, and their import into data/raw."""

from pathlib import Path

from gunshot.corpora import folder, urbansound8k
from gunshot.corpora.importing import Summary, import_corpus
from gunshot.corpora.sources import Source

__all__ = ["Source", "Summary", "detect", "import_corpus", "layouts"]

layouts = {"folder": folder.scan, "urbansound8k": urbansound8k.scan}


def detect(root: Path | str) -> str:
    """Return the name of the layout that a folder has; ValueError names what was looked for."""
    root = Path(root)
    if (root / urbansound8k.METADATA).is_file():
        return "urbansound8k"
    if any((root / c).is_dir() for c in folder.CLASSES):
        return "folder"
    raise ValueError(
        f"{root}: must be a folder that holds gun/ or env/ (layout folder) or {urbansound8k.METADATA} "
        "(layout urbansound8k)"
    )
