"""Files fetched over HTTP: checked by their hash, gone on with where they were cut; no network is told at once."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
import tenacity
import urllib3
from tqdm import tqdm

from gunshot.base import files

BLOCK = 1 << 20
TIMEOUT_S = (10, 60)  # to connect; between two pieces
PROBE_S = (5, 15)
TRIES = 10  # of one file, in one run
WAIT = tenacity.wait_exponential(max=30)  # s
# The file comes as it is: a server that packs it once more would make another size of it.
PLAIN = {"Accept-Encoding": "identity"}


class CutError(OSError):
    """A transfer ended before the file did, or the server was busy: worth another try."""


PASSING = (requests.ConnectionError, requests.Timeout, CutError)


@dataclass(frozen=True)
class Remote:
    """A file to fetch, the same for ever: `hash` is ``md5:`` or ``sha256:`` and the hexadecimal digits."""

    url: str
    size: int  # bytes
    hash: str

    @property
    def name(self) -> str:
        """Its name in a folder."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]

    @property
    def host(self) -> str:
        """The server that has it."""
        return urlsplit(self.url).netloc


def part(remote: Remote, folder: Path) -> Path:
    """Return the path of what is there of a file that is not whole."""
    return folder / f"{remote.name}.part"


def lacking(remote: Remote, folder: Path) -> int:
    """Return the bytes that a folder lacks of a file."""
    if (folder / remote.name).exists():
        return 0
    begun = part(remote, folder)
    return max(0, remote.size - (begun.stat().st_size if begun.exists() else 0))


def reach(remotes: Iterable[Remote]) -> list[str]:
    """Return in words which files cannot be had now, each asked for its first byte, once, with no second try."""

    def ask(group: list[Remote]) -> list[str]:
        faults = []
        for remote in group:
            try:
                with requests.get(
                    remote.url, headers=PLAIN | {"Range": "bytes=0-0"}, stream=True, timeout=PROBE_S
                ) as answer:
                    if not answer.ok:
                        faults.append(f"{remote.url}: HTTP {answer.status_code} {answer.reason}")
            except requests.RequestException as e:
                faults.append(f"{remote.host}: {_cause(e)}")
                break  # its other files will not be had either
        return faults

    by_host = [list(group) for _, group in groupby(sorted(remotes, key=lambda r: r.host), key=lambda r: r.host)]
    with ThreadPoolExecutor(max(1, len(by_host))) as pool:
        return [fault for faults in pool.map(ask, by_host) for fault in faults]


def fetch(remote: Remote, folder: Path) -> Path:
    """Return a file in `folder`, whole, after fetching what it lacks; a server without ranges sends it from its start.

    Its hash is for `matches` to look at.

    Raises
    ------
    ValueError
        The server has no such file, or it could not be had in some tries; what came of it stays.
    files.FullError
        The disk is full; what came stays.
    """
    path, begun = folder / remote.name, part(remote, folder)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PASSING),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=WAIT,
        reraise=True,
    )
    try:
        tries(_transfer, remote, begun)
    except PASSING as e:
        raise ValueError(
            f"{remote.url}: cut off {TRIES} times, last by: {_cause(e)}; run this again, it goes on from there"
        ) from None
    except requests.RequestException as e:
        raise ValueError(f"{remote.url}: could not be fetched: {_cause(e)}") from None
    os.replace(begun, path)
    return path


def _transfer(remote: Remote, begun: Path) -> None:
    """Append to `begun` what it lacks of a file, or all of it from the beginning where the server cannot go on."""
    have = begun.stat().st_size if begun.exists() else 0
    headers = PLAIN | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(remote.url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == 416:  # nothing is after what is there
            return
        if answer.status_code == 429 or answer.status_code >= 500:
            raise CutError(f"HTTP {answer.status_code} {answer.reason}")
        if not answer.ok:
            raise ValueError(f"{remote.url}: HTTP {answer.status_code} {answer.reason}")
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            files.disk(lambda: f"{begun}: {remote.size} bytes are needed in all"),
            open(begun, "ab" if have else "wb") as out,
            tqdm(
                desc=remote.name, total=total or remote.size, initial=have, unit="B", unit_scale=True, unit_divisor=1000
            ) as bar,
        ):
            for block in _blocks(answer):
                out.write(block)
                out.flush()  # a kill loses none of it
                bar.update(len(block))
    if total and begun.stat().st_size < total:
        raise CutError(f"{begun.stat().st_size} of {total} bytes came")


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    """Yield what comes as it comes: nothing is unpacked, whatever the server says of how it packed it."""
    try:
        yield from answer.raw.stream(BLOCK, decode_content=False)
    except urllib3.exceptions.HTTPError as e:
        raise CutError(_cause(e)) from None


def matches(remote: Remote, path: Path) -> bool:
    """Return whether a file has its hash."""
    kind, digits = remote.hash.split(":")
    digest = hashlib.new(kind)
    with (
        open(path, "rb") as file,
        tqdm(desc=f"check {path.name}", total=path.stat().st_size, unit="B", unit_scale=True, leave=False) as bar,
    ):
        while block := file.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest() == digits


def kaggle(handle: str) -> Path:
    """Return the folder of a data set in kagglehub's own cache, downloaded unless it is there.

    Raises
    ------
    ValueError
        The download failed; the next one goes on with it.
    """
    try:
        import kagglehub
        from kagglehub import exceptions as known
    except ImportError as e:
        raise ValueError(f"--download needs {e.name} for this set: install the extra download (`make` does)") from None
    try:
        return Path(kagglehub.dataset_download(handle))
    except (OSError, ValueError, known.BackendError, known.DataCorruptionError, known.NotFoundError) as e:
        raise ValueError(f"{handle}: kagglehub could not download it: {_line(e)}") from None


def has_kaggle_token() -> bool:
    """Return whether kagglehub has credentials: in the environment, or in its file."""
    try:
        from kagglehub import config
    except ImportError:
        return False
    return config.get_kaggle_credentials() is not None


def _cause(error: BaseException) -> str:
    """Return what is at the bottom of a chain of errors, in a line: requests wraps what happened several times."""
    while (
        inner := error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
    ):
        error = inner
    return _line(error) or type(error).__name__


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
