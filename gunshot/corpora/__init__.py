"""Corpora: the layouts in which recordings come, and their import into data/raw."""

from pathlib import Path

from gunshot.corpora import esc50, field, folder, fsd50k, takes, urbansound8k
from gunshot.corpora.importing import Summary, import_corpus
from gunshot.corpora.sources import Source

__all__ = ["Source", "Summary", "detect", "import_corpus", "layouts"]

layouts = {
    "esc50": esc50.scan,
    "field": field.scan,
    "folder": folder.scan,
    "freefirearm": takes.freefirearm,
    "fsd50k": fsd50k.scan,
    "kaggle-gunshots": takes.kaggle_gunshots,
    "urbansound8k": urbansound8k.scan,
}


def detect(root: Path | str) -> str:
    """Return the name of the layout that a folder has; ValueError names what was looked for."""
    root = Path(root)
    signs = {
        "urbansound8k": [urbansound8k.METADATA],
        "esc50": [esc50.METADATA],
        "fsd50k": [fsd50k.truth(part) for part in fsd50k.PARTS],
        "folder": [f"{class_}/" for class_ in folder.CLASSES],
    }
    for layout, names in signs.items():
        if any((root / name).exists() for name in names):
            return layout
    known = ", ".join(f"{' or '.join(names)} (layout {layout})" for layout, names in reversed(signs.items()))
    raise ValueError(f"{root}: must be a folder that holds {known}")
