"""The public data sets that importers know: which files at which version, their licences, and what they need.

Sizes and MD5 of Zenodo's files are those of its records (which no one can change once published), as several projects
state them. Of the Free Firearm Sound Library nobody publishes a hash: the SHA-256 is what
many projects noted of OpenGameArt's file, whose exact size none of them noted. GitHub packs a commit when it is asked,
and does not promise the same bytes for ever: of ESC-50 the SHA-256 is what several projects noted, and where it differs
the contents decide (`esc50.contents`). Kaggle publishes no hash: the number of recordings is checked, and a hash of
what came is written down (`contents`).
"""

import errno
import hashlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from gunshot.base import files, tables
from gunshot.corpora import archives, download, esc50
from gunshot.corpora.download import Remote

CREDITS = "credits"  # a folder beside the recordings
SOURCE = f"{CREDITS}/source.json"  # in a corpus that a download finished
ZENODO = "https://zenodo.org/records/{}/files/{}?download=1"
GB = 10**9


@dataclass(frozen=True)
class Dataset:
    """A public set at a fixed version. Sizes are in bytes; `unpacked` and `corpus` are about."""

    layout: str
    version: str
    page: str
    citation: str
    licences: tuple[str, ...]  # of its recordings, as the importer names them
    unpacked: int
    corpus: int  # of its recordings as 16 kHz mono
    files: tuple[Remote, ...] = ()
    credits: tuple[str, ...] = ()  # patterns of what names its authors, below the set's folder
    contents: Callable[[Path], str] | None = None  # of a set whose archives may be packed anew
    digest: str = ""  # what `contents` must be
    kaggle: str = ""  # the handle of a set that kagglehub fetches
    recordings: int = 0  # in one that has no published hash


def _zenodo(record: int, files: dict[str, tuple[int, str]]) -> tuple[Remote, ...]:
    return tuple(Remote(ZENODO.format(record, name), size, f"md5:{md5}") for name, (size, md5) in files.items())


PART = 3_221_225_472  # bytes of each of FSD50K's parts but the last
DATASETS = (
    Dataset(
        layout="freefirearm",
        version="Prepared SFX Library",
        page="https://opengameart.org/content/the-free-firearm-sound-library",
        citation="B. Jaszczak, B. Nelson, K. Heras, M. Nanney: The Free Firearm Sound Library",
        licences=("CC0-1.0",),
        unpacked=GB // 2,
        corpus=GB // 20,
        files=(
            Remote(
                "https://opengameart.org/sites/default/files/Prepared%20SFX%20Library.7z",
                194_000_000,  # about
                "sha256:cc1ab5a99a0a365105c7c5dd783f4b0b1fe90938114d3ceec53856bfe005f7d6",
            ),
        ),
        credits=("*.csv", "*.txt", "*.md", "LICENSE*"),
    ),
    Dataset(
        layout="esc50",
        version="commit 33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6",
        page="https://github.com/karolpiczak/ESC-50",
        citation='K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015',
        licences=("CC BY 3.0", "CC BY-NC 3.0"),
        unpacked=9 * GB // 10,
        corpus=32 * GB // 100,
        files=(
            Remote(
                "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
                645_832_161,
                "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
            ),
        ),
        credits=("LICENSE", "README.md"),
        contents=esc50.contents,
        digest=esc50.CONTENTS,
    ),
    Dataset(
        layout="urbansound8k",
        version="Zenodo record 1203745",
        page="https://zenodo.org/records/1203745",
        citation='J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", '
        "ACM Multimedia 2014",
        licences=("CC BY-NC 3.0",),
        unpacked=72 * GB // 10,
        corpus=GB,
        files=_zenodo(1203745, {"UrbanSound8K.tar.gz": (6_023_741_708, "9aa69802bbf37fb986f71ec1483a196e")}),
        credits=("UrbanSound8K_README.txt", "FREESOUNDCREDITS.txt"),
    ),
    Dataset(
        layout="fsd50k",
        version="Zenodo record 4060432",
        page="https://zenodo.org/records/4060432",
        citation='E. Fonseca et al., "FSD50K: an Open Dataset of Human-Labeled Sound Events", IEEE/ACM TASLP 30, 2022',
        licences=("CC0-1.0", "CC BY 3.0", "CC BY-NC 3.0", "CC Sampling+ 1.0"),
        unpacked=35 * GB,
        corpus=125 * GB // 10,
        files=_zenodo(
            4060432,
            {
                "FSD50K.doc.zip": (6_984, "3516162b82dc2945d3e7feba0904e800"),
                "FSD50K.ground_truth.zip": (334_701, "ca27382c195e37d2269c4c866dd73485"),
                "FSD50K.metadata.zip": (6_700_838, "b9ea0c829a411c1d42adb9da539ed237"),
                "FSD50K.eval_audio.z01": (PART, "3090670eaeecc013ca1ff84fe4442aeb"),
                "FSD50K.eval_audio.zip": (3_037_675_767, "6fa47636c3a3ad5c7dfeba99f2637982"),
                "FSD50K.dev_audio.z01": (PART, "faa7cf4cc076fc34a44a479a5ed862a3"),
                "FSD50K.dev_audio.z02": (PART, "8f9b66153e68571164fb1315d00bc7bc"),
                "FSD50K.dev_audio.z03": (PART, "1196ef47d267a993d30fa98af54b7159"),
                "FSD50K.dev_audio.z04": (PART, "d088ac4e11ba53daf9f7574c11cccac9"),
                "FSD50K.dev_audio.z05": (PART, "81356521aa159accd3c35de22da28c7f"),
                "FSD50K.dev_audio.zip": (2_306_663_327, "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
            },
        ),
        credits=("FSD50K.doc/*", "FSD50K.metadata/*_clips_info_FSD50K.json"),
    ),
    Dataset(
        layout="kaggle-gunshots",
        version="the newest on Kaggle",
        page="https://www.kaggle.com/datasets/emrahaydemr/gunshot-audio-dataset",
        citation="T. Tuncer, S. Dogan, E. Akbal, E. Aydemir, "
        '"An Automated Gunshot Audio Classification Method Based on Finger Pattern Feature Generator and Iterative '
        'Relieff Feature Selector", 2021',
        licences=("unknown",),
        unpacked=GB // 3,
        corpus=GB // 10,
        kaggle="emrahaydemr/gunshot-audio-dataset",
        recordings=851,
    ),
)


def named(layout: str) -> Dataset:
    """Return the set of a layout."""
    return next(one for one in DATASETS if one.layout == layout)


def bring(dataset: Dataset, folder: Path) -> Path:
    """Return the folder of a set, whole and as published: unless it is there, it is fetched, checked and unpacked.

    After a kill at any time the next call goes on: files come under the name NAME.part, and are unpacked to a folder
    that gets its name when all is in it. The archives are deleted then.

    Raises
    ------
    ValueError
        A file could not be fetched, or is not the one that it must be; that one is deleted.
    """
    root = folder / "unpacked"
    if root.exists():
        return archives.entered(root)
    if dataset.kaggle:
        return _counted(dataset, download.kaggle(dataset.kaggle))
    partial = folder / "unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    packed = [download.fetch(remote, folder) for remote in dataset.files]
    anew = [path for remote, path in zip(dataset.files, packed, strict=True) if not _checked(dataset, remote, path)]
    partial.mkdir()
    for path in packed:
        if archives.suffix(path):  # the other parts of a split zip go with its last
            archives.unpack(path, partial, str(folder))
    if anew:
        _check_contents(dataset, anew, archives.entered(partial))
    partial.rename(root)
    for path in packed:
        path.unlink()
    return archives.entered(root)


def _checked(dataset: Dataset, remote: Remote, path: Path) -> bool:
    """Return whether a file has its hash; False where its contents may be looked at instead."""
    if download.matches(remote, path):
        return True
    if dataset.contents:
        print(f"{path}: not the bytes of {remote.hash}; packed anew, perhaps, so its contents are checked")
        return False
    path.unlink()
    raise ValueError(
        f"{remote.url}: what came has not the hash {remote.hash}; deleted: run this again to fetch it anew"
    )


def _check_contents(dataset: Dataset, packed: list[Path], root: Path) -> None:
    if (digest := dataset.contents(root)) != dataset.digest:
        for path in packed:
            path.unlink()
        raise ValueError(
            f"{dataset.page}: what came is not {dataset.version}: contents {digest}, must be {dataset.digest}; "
            "deleted: run this again to fetch it anew"
        )


def _counted(dataset: Dataset, root: Path) -> Path:
    if (count := sum(1 for _ in root.rglob("*.wav"))) != dataset.recordings:
        came = f"{count} recording{'s' * (count != 1)}"
        raise ValueError(
            f"{root}: {came} came of {dataset.page}, known are {dataset.recordings}: another version; look "
            f"at it, then `gunshot import {dataset.layout} {root}` takes it"
        )
    return root


def contents(root: Path) -> str:
    """Return the SHA-256 of all files below a folder, their names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()):
        with open(root / name, "rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def credit(dataset: Dataset, root: Path, out: Path, *, licences: Collection[str] | None, classes: str) -> None:
    """Write beside a corpus what names its authors, copied from the set, and then where it comes from."""
    folder = out / CREDITS
    folder.mkdir(exist_ok=True)
    for pattern in dataset.credits:
        for path in sorted(root.glob(pattern)):
            shutil.copyfile(path, folder / path.name)
    tables.write_json(
        out / SOURCE,
        {
            "set": dataset.layout,
            "version": dataset.version,
            "page": dataset.page,
            "citation": dataset.citation,
            "files": [asdict(remote) for remote in dataset.files],
            "contents": contents(root) if dataset.kaggle else dataset.digest,
            "licences": sorted(licences) if licences is not None else None,
            "classes": classes,
        },
    )


def finished(dataset: Dataset, out: Path, folder: Path, *, licences: Collection[str] | None, classes: str) -> bool:
    """Return whether a corpus has all of a set that is asked for, and no more is to be done."""
    if folder.exists() or not (out / SOURCE).exists():
        return False
    noted = tables.read_json(out / SOURCE)
    asked = set(dataset.licences) if licences is None else set(dataset.licences) & set(licences)
    enough = noted["licences"] is None or asked <= set(noted["licences"])
    return enough and (noted["version"], noted["classes"]) == (dataset.version, classes)


def needed(dataset: Dataset, downloads: Path) -> int:
    """Return the bytes that a set's archives and what they unpack to still need in the folder of all downloads."""
    folder = downloads / dataset.layout
    if (folder / "unpacked").exists() or dataset.kaggle:
        return 0
    return sum(download.lacking(remote, folder) for remote in dataset.files) + dataset.unpacked


def check_room(datasets: Collection[Dataset], downloads: Path, raw: Path) -> None:
    """Raise FullError where a disk has less than bringing the sets one after another takes.

    A corpus counts twice, since DVC keeps a copy in its cache. Of a set's archives, its unpacked folder and its corpus
    the first are gone before the last begins.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    together = downloads.stat().st_dev == raw.stat().st_dev
    corpora = most = 0
    for dataset in datasets:
        most = max(most, needed(dataset, downloads) + together * corpora)
        corpora += 2 * dataset.corpus
        most = max(most, together * (dataset.unpacked + corpora))
    for folder, bytes_ in ((downloads, most), (raw, corpora)):
        if (free := shutil.disk_usage(folder).free) < bytes_:
            raise files.FullError(
                errno.ENOSPC,
                f"{folder}: {', '.join(one.layout for one in datasets)} need about {bytes_ / GB:.1f} GB there for a "
                f"while, and {free / GB:.1f} GB are free; make room, or import some of them: nothing was fetched",
            )


def check_reach(datasets: Collection[Dataset], downloads: Path) -> None:
    """Raise ValueError where files that are still to fetch cannot be had now; nothing was fetched then."""
    missing = [
        remote
        for dataset in datasets
        for remote in dataset.files
        if needed(dataset, downloads) and download.lacking(remote, downloads / dataset.layout)
    ]
    if faults := download.reach(missing):
        where = sorted({f"{downloads / one.layout}/" for one in datasets if set(one.files) & set(missing)})
        raise ValueError(
            f"nothing was fetched, out of reach: {'; '.join(faults)}. Look at the network or a proxy (HTTPS_PROXY), "
            f"or put the files that `gunshot import public` lists, fetched elsewhere, into {', '.join(where)}; then "
            "run this again"
        )
