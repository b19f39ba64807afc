"""Data sets fetched by the clients that keep track of where they lie: kagglehub and soundata."""

import hashlib
from pathlib import Path

KAGGLE = {"kaggle-gunshots": "emrahaydemr/gunshot-audio-dataset"}
SOUNDATA = ("esc50", "urbansound8k")
DONE = ".complete"  # in a folder whose download ended well


def fetch(layout: str, folder: Path) -> Path:
    """Return the folder of a data set, downloaded unless it is there: `folder`, or kagglehub's own cache.

    Raises
    ------
    ValueError
        The client is not installed, or the download failed; the next one starts its file anew.
    """
    try:
        return _kaggle(KAGGLE[layout]) if layout in KAGGLE else _soundata(layout, folder)
    except ImportError as e:
        raise ValueError(f"--download needs {e.name}: install the extra download (`make` does)") from None


def _kaggle(handle: str) -> Path:
    import kagglehub
    from kagglehub import exceptions as known

    try:
        return Path(kagglehub.dataset_download(handle))
    except (OSError, ValueError, known.BackendError, known.DataCorruptionError, known.NotFoundError) as e:
        raise ValueError(f"{handle}: kagglehub could not download it: {_line(e)}") from None


def _soundata(layout: str, folder: Path) -> Path:
    import soundata

    if (folder / DONE).exists():
        return folder
    dataset = soundata.initialize(layout, data_home=str(folder))
    remotes = {name: remote for name, remote in dataset.remotes.items() if name != "index"}  # soundata's own
    for remote in remotes.values():
        # What a stopped download left would be taken for the whole and refused for ever.
        part = folder / remote.filename
        if part.exists() and _md5(part) != remote.checksum:
            part.unlink()
    try:
        dataset.download(partial_download=list(remotes), cleanup=True)
    except OSError as e:
        raise ValueError(f"{layout}: soundata could not download it: {_line(e)}") from None
    (folder / DONE).touch()
    return folder


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
