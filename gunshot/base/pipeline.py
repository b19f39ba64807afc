"""What dvc.yaml says: where the stages put things, and which models there are."""

from pathlib import Path

import yaml


def _read(root: Path) -> dict:
    path = root / "dvc.yaml"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; run this from the project's folder")
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def output(stage: str, *, root: Path = Path()) -> Path:
    """Return the path of a stage's first output."""
    out = _read(root)["stages"][stage]["outs"][0]
    return root / (out if isinstance(out, str) else next(iter(out)))


def raw(*, root: Path = Path()) -> Path:
    """Return the folder of all corpora, data/raw."""
    return output("simulate", root=root).parent


def by_hand(*, root: Path = Path()) -> Path:
    """Return the folder of people's tag files, beside data/raw."""
    return raw(root=root).with_name("tags")


def field(*, root: Path = Path()) -> Path:
    """Return the folder into which devices' recordings arrive, beside data/raw; no stage reads it."""
    return raw(root=root).with_name("field")


def models(*, root: Path = Path()) -> dict[str, Path]:
    """Return the paths of the models that dvc.yaml names as artifacts, by name."""
    return {name: root / artifact["path"] for name, artifact in _read(root)["artifacts"].items()}


def verifier(*, root: Path = Path()) -> Path:
    """Return where `gunshot train-verifier` puts the verifier, beside the models' folders; no stage makes it."""
    return models(root=root)["int8"].parent.with_name("verifier") / "verifier.tflite"


def metrics(stage: str, *, root: Path = Path()) -> Path:
    """Return the path of a stage's first metrics file, as dvc.yaml has it."""
    return Path(next(iter(_read(root)["stages"][stage]["metrics"][0])))
