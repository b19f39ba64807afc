"""The recordings of a file or folder, and their tags: where they lie, and how they are changed without a loss."""

from dataclasses import dataclass
from pathlib import Path

from gunshot import tags
from gunshot.base import tables
from gunshot.base.decoding import SUFFIXES, is_sound
from gunshot.base.files import shown

UNNAMED = "a tag file, text in UTF-8, cannot name recordings such as these; rename them"
LEFT_OUT = f"recording is left out: {UNNAMED}", f"recordings are left out: {UNNAMED}"  # of one and of many


@dataclass(frozen=True)
class Catalogue:
    """Recordings by their key, the name that tag files give them; of corpora in data/raw those of the class gun."""

    home: tags.Home
    raw: Path  # data/raw
    recordings: dict[str, Path]
    imported: bool  # in data/raw, and tagged by whatever the pipeline takes tags from
    unnamed: tuple[str, ...] = ()  # recordings beside these that no tag file can name, as they are shown

    def read(self) -> tuple[dict[str, list[tags.Tag]], list[str]]:
        """Return the tags that recordings have now, a person's or a corpus's own, and tag files' lines that are no use.

        Raises
        ------
        ValueError
            A tag file outside data/raw holds bad lines.
        """
        if not self.imported:
            files = sorted({self.home.file(key) for key in self.recordings})
            return {key: placed for file in files for key, placed in read_file(file).items()}, []
        own, by_hand = sorted(self.raw.glob("*/tags.csv")), sorted(self.home.by_hand.rglob("*.csv"))
        placed, bad, _ = tags.gather(own, by_hand, tables.recordings(self.raw))
        return placed, [f"{row['file']}: {row['value']}: {row['rule']}" for row in bad]

    def write(self, changes: dict[str, list[tags.Tag] | None]) -> list[Path]:
        """Replace recordings' lines in their tag files, each file in one write, and return the files."""
        by_file: dict[Path, dict[str, list[tags.Tag] | None]] = {}
        for key, placed in changes.items():
            by_file.setdefault(self.home.file(key), {})[key] = placed
        for file, lines in by_file.items():
            tags.amend(file, lines)
        return sorted(by_file)


def read_file(file: Path) -> dict[str, list[tags.Tag]]:
    """Return the tags of a tag file, none where there is no file; ValueError at its first bad line.

    A line with semicolons for commas is bad too: it would name a recording that is not there, and hide the one that is.
    """
    placed, bad = tags.read(file) if file.exists() else ({}, [])
    if bad:
        count = f"{len(bad)} bad line{'s' * (len(bad) > 1)}"
        raise ValueError(f"{bad[0]['file']}: {bad[0]['value']}: {bad[0]['rule']} ({count}); mend the file")
    for name in placed:
        meant = tags.before_semicolons(name)
        if meant != name and (file.parent / meant).is_file() and not (file.parent / name).exists():
            raise ValueError(f"{file}: {shown(name)}: {tags.COMMAS}")
    return placed


def listed(path: Path, raw: Path, by_hand: Path, *, blind: bool = False) -> Catalogue:
    """Return the catalogue of a recording, or of a folder with recordings anywhere in it.

    Outside data/raw (`raw`) all audio is listed but that in env/ beside a gun/, and the tags lie in the folder's
    tags.csv; those of recordings in data/raw lie in `by_hand`, a file a corpus. `blind` tags lie in its folder blind/,
    and no others are seen.

    Raises
    ------
    ValueError
        Blind tags are asked for outside data/raw, or there is no recording.
    """
    home = tags.home(path, raw, by_hand / "blind" if blind else by_hand)
    if blind and home.by_hand is None:
        raise ValueError(f"{path}: blind tags are of recordings below {raw}; import them first")
    every = _listed(path, raw, home)
    recordings = {key: file for key, file in every.items() if tags.is_nameable(key)}
    unnamed = tuple(shown(key) for key in every if key not in recordings)
    if not every:
        raise ValueError(f"{path}: must hold a recording that is not env, such as {', '.join(SUFFIXES)}")
    if not recordings:
        raise ValueError(f"{shown(path)}: {UNNAMED}: {', '.join(unnamed[:3])}")
    return Catalogue(home, raw, recordings, home.by_hand is not None and not blind, unnamed)


def dangling(path: Path) -> list[str]:
    """Return the links below a folder that are called as sound is, and lead nowhere; none of a file."""
    links = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_symlink())
    return sorted(shown(file.relative_to(path)) for file in links if not file.exists())


def _listed(path: Path, raw: Path, home: tags.Home) -> dict[str, Path]:
    if home.by_hand is not None:
        table = tables.recordings(raw)
        keys = table["path"][table["class"] == "gun"]
        below = path.resolve()
        return {key: home.root / key for key in keys if (home.root / key).is_relative_to(below)}
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    corpus = (path / "gun").is_dir()
    return {
        key: file
        for key, file in ((home.key(file), file) for file in files)
        if path.is_file() or (not _hidden(key) and not (corpus and key.startswith("env/")) and is_sound(file))
    }


def _hidden(key: str) -> bool:
    return any(part.startswith(".") for part in Path(key).parts)
