"""Data sets fetched by the clients that keep track of where they lie: kagglehub and soundata."""

import hashlib
from pathlib import Path

KAGGLE = {"kaggle-gunshots": "emrahaydemr/gunshot-audio-dataset"}


def fetch(layout: str, folder: Path) -> Path:
    """Return a data set, downloaded unless it is there: an archive in `folder`, or a folder in kagglehub's own cache.

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
    from soundata.download_utils import download_from_remote

    (remote,) = (r for name, r in soundata.initialize(layout).remotes.items() if name != "index")  # soundata's own list
    archive = folder / remote.filename
    # What a stopped download left would be taken for the whole, and refused for ever.
    if archive.exists() and _md5(archive) != remote.checksum:
        archive.unlink()
    try:
        return Path(download_from_remote(remote, str(folder), force_overwrite=False))
    except OSError as e:
        raise ValueError(f"{layout}: soundata could not download it: {_line(e)}") from None


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
