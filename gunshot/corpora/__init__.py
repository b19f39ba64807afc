"""Corpora: the layouts in which recordings come, and their import into data/raw."""

import shlex
from pathlib import Path

from gunshot.corpora import esc50, field, folder, fsd50k, takes, urbansound8k
from gunshot.corpora.importing import Summary, import_corpus
from gunshot.corpora.sources import MACOS, SHOWN, Source

__all__ = ["Source", "Summary", "detect", "import_corpus", "layouts", "locate"]

layouts = {
    "esc50": esc50.scan,
    "field": field.scan,
    "folder": folder.scan,
    "freefirearm": takes.freefirearm,
    "fsd50k": fsd50k.scan,
    "kaggle-gunshots": takes.kaggle_gunshots,
    "urbansound8k": urbansound8k.scan,
}


SIGNS = {  # a folder that holds one of these has the layout
    "urbansound8k": [urbansound8k.METADATA],
    "esc50": [esc50.METADATA],
    "fsd50k": [fsd50k.truth(part) for part in fsd50k.PARTS],
    "folder": [f"{class_}/" for class_ in folder.CLASSES],
}
DEPTH = 4  # folders below one that was named


def _signed(root: Path, layout: str) -> bool:
    return any((root / name).is_dir() if name.endswith("/") else (root / name).is_file() for name in SIGNS[layout])


def detect(root: Path | str) -> str:
    """Return the name of the layout that a folder has; ValueError names what was looked for."""
    root = Path(root)
    for layout in SIGNS:
        if _signed(root, layout):
            return layout
    known = ", ".join(f"{' or '.join(names)} (layout {layout})" for layout, names in reversed(SIGNS.items()))
    whole = root.resolve()
    hint = f"; {whole.parent} does: give that one" if whole.name in folder.CLASSES and whole.is_dir() else ""
    if set_ := takes.named(root):
        command = f"`gunshot import {set_} {shlex.quote(str(root))}` imports it"
        hint = f"; it looks like {set_}, which is shots alone: {command}, or move it into a gun/ beside an env/"
    raise ValueError(f"{root}: must be a folder that holds {known}{hint}")


def locate(layout: str, root: Path) -> Path:
    """Return the folder that has a layout: `root`, or the only one nearest below it.

    It is `root` too where there is none, or where the layout is known by no sign. Hidden folders and __MACOSX/ are
    not looked at, and no links are followed.

    Raises
    ------
    ValueError
        Several folders, equally near, have the layout.
    """
    level = [root] if layout in SIGNS else []
    for _ in range(DEPTH + 1):
        if len(signed := [folder for folder in level if _signed(folder, layout)]) > 1:
            names = ", ".join(folder.relative_to(root).as_posix() for folder in signed[:SHOWN])
            signs = " or ".join(SIGNS[layout])
            raise ValueError(f"{root}: {len(signed)} folders hold {signs} ({names}); import each by itself")
        if signed:
            return signed[0]
        level = [child for folder in level for child in sorted(folder.iterdir()) if _folder(child)]
    return root


def _folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and path.name != MACOS
