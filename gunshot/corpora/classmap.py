"""Class maps: which of a data set's classes are gun, which env, and which are left out; YAML that a user can edit."""

from collections.abc import Callable
from pathlib import Path

import yaml

PLACES = ("gun", "env", "out")


def default(layout: str) -> Path:
    """Return the class map that comes with a layout."""
    return Path(__file__).parent / "classes" / f"{layout}.yaml"


def load(path: Path) -> dict[str, str]:
    """Return a class map: gun, env or out by the data set's class.

    Raises
    ------
    ValueError
        The file is no mapping, or maps a class to something else.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ValueError(f"{path}: must be YAML: {e}") from None
    if not isinstance(mapping, dict):
        raise ValueError(f"{path}: must map each class to one of {', '.join(PLACES)}")
    for name, place in mapping.items():
        if place not in PLACES:
            raise ValueError(f"{path}: {name}: {place!r} must be one of {', '.join(PLACES)}")
    return {str(name): place for name, place in mapping.items()}


def placer(layout: str, path: Path | None) -> Callable[[str], str]:
    """Return a function from a class to gun, env or out, by the class map at `path` or the one of the layout.

    It raises ValueError where the map does not name the class.
    """
    path = path or default(layout)
    classes = load(path)

    def place(name: str) -> str:
        if name not in classes:
            raise ValueError(f"{path}: class {name!r} is missing; add a line with gun, env or out")
        return classes[name]

    return place
