"""Public data sets, fetched and imported: what `gunshot import NAME --download` and `gunshot import public` share."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

COMMERCIAL = "commercial"
TOKEN = "no Kaggle token is configured (www.kaggle.com/settings; KAGGLE_API_TOKEN or ~/.kaggle/kaggle.json)"


def one(layout: str, out: Path, classes: Path | None) -> None:
    """Bring one set to `out`; errors as `_bring`."""
    from gunshot.corpora import public

    _bring([public.named(layout)], lambda dataset: out, None, classes)


def public(asked: list[str] | None, *, fetch: bool) -> None:
    """Bring all sets that have recordings under the licences that are asked for, or print what there is to bring."""
    from gunshot.base import pipeline
    from gunshot.corpora import download, public

    licences, raw = _licences(asked), pipeline.raw()
    taken = []
    for dataset in public.DATASETS:
        if licences is not None and not set(licences) & set(dataset.licences):
            print(f"{dataset.layout}: left out, its recordings are under {' or '.join(dataset.licences)}")
        elif dataset.kaggle and not download.has_kaggle_token():
            print(f"{dataset.layout}: left out, {TOKEN}")
        else:
            taken.append(dataset)
    if fetch:
        _bring(taken, lambda dataset: raw / dataset.layout, licences, None)
    else:
        _print(taken)
    _warn(licences, raw)


def _licences(asked: list[str] | None) -> list[str] | None:
    """Return the licences that are asked for, None where all are; ValueError names one that no set has."""
    from gunshot.base import params
    from gunshot.corpora import public

    if not asked:
        return None
    known = {licence for dataset in public.DATASETS for licence in dataset.licences}
    if unknown := [licence for licence in asked if licence not in known | {COMMERCIAL}]:
        raise ValueError(f"--licence {unknown[0]!r} must be {COMMERCIAL} or one of {', '.join(sorted(known))}")
    sold = params.load("promotion").promotion.licences if COMMERCIAL in asked else []
    return sorted({*asked, *sold} - {COMMERCIAL})


def _print(datasets: list) -> None:
    from gunshot.corpora.public import GB

    for dataset in datasets:
        size = sum(remote.size for remote in dataset.files) or dataset.unpacked
        print(
            f"{dataset.layout}: {size / GB:.2f} GB to fetch, {dataset.corpus / GB:.2f} GB as a corpus; "
            f"{dataset.version}; {', '.join(dataset.licences)}; {dataset.page}"
        )
        for remote in dataset.files:
            print(f"    {remote.url}  {remote.hash}")
    print("with --download they are fetched and imported")


def _bring(datasets: list, out: Callable[..., Path], licences: list[str] | None, classes: Path | None) -> None:
    """Fetch and import sets, one after another; what is there whole is left as it is.

    Raises
    ------
    ValueError
        Something is out of reach, and nothing was fetched; or a set failed, and those after it were brought.
    files.FullError
        A disk is too small.
    """
    from gunshot.base import pipeline
    from gunshot.corpora import public

    raw = pipeline.raw()
    downloads, noted = raw.with_name("downloads"), hashlib.sha256(classes.read_bytes()).hexdigest() if classes else ""
    raw.mkdir(parents=True, exist_ok=True)
    waiting = []
    for dataset in datasets:
        done = public.finished(dataset, out(dataset), downloads / dataset.layout, licences=licences, classes=noted)
        if done:
            print(f"{out(dataset)}: {dataset.layout} is there, {dataset.version}")
        else:
            waiting.append(dataset)
    public.check_room(waiting, downloads, raw)
    public.check_reach(waiting, downloads)
    faults = []
    for dataset in waiting:
        try:
            _one(dataset, out(dataset), downloads / dataset.layout, licences, classes, noted)
        except ValueError as e:
            faults.append(str(e))
            if dataset is not waiting[-1]:
                print(f"{dataset.layout} failed, the next set is brought: {e}")
    if faults:
        raise ValueError("\n".join(faults))


def _one(dataset, out: Path, folder: Path, licences: list[str] | None, classes: Path | None, noted: str) -> None:
    from gunshot import corpora
    from gunshot.cli.import_ import convert
    from gunshot.corpora import public

    folder.mkdir(parents=True, exist_ok=True)  # it goes last: as long as it is there something is to be done
    with _alone(folder):
        root = corpora.locate(dataset.layout, public.bring(dataset, folder))
        convert(
            dataset.layout,
            root,
            out,
            licences=licences,
            credit=partial(public.credit, dataset, root, out, licences=licences, classes=noted),
            **({"classes": classes} if classes else {}),
        )
        shutil.rmtree(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; ValueError where another one holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another gunshot import is at work there; wait for its end") from None
        yield
    finally:
        os.close(handle)


def _warn(licences: list[str] | None, raw: Path) -> None:
    """Say which corpora of public sets hold recordings under other licences, from an import before."""
    from gunshot.base import tables
    from gunshot.corpora import public

    for dataset in public.DATASETS if licences is not None else ():
        table = raw / dataset.layout / "recordings.csv"
        if not table.exists():
            continue
        others = sorted(set(tables.read(table, tables.RECORDING)["licence"]) - set(licences))
        if others:
            print(
                f"warning: {table.parent} holds recordings under {', '.join(others)}, imported before, and stays; "
                f"without them: `dvc remove {table.parent}.dvc`, delete that folder, and run this again"
            )
