#!/usr/bin/env python3
"""Bring CMSIS-DSP, CMSIS-Core and Monocypher to firmware/third_party; nothing is done where they are there.

They come in Python packages that carry their C source, whose SHA-256 pip checks:
DOC/decisions/017-cmsis-dsp-by-hash.md.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINNED = HERE / "requirements.txt"
CORE = "bakenn/backend/cmsis_nn/vendor/cmsis_core"
KEPT = {  # in the package: here
    "cmsisdsp-1.10.3/LICENSE": "cmsis/dsp/LICENSE",
    "cmsisdsp-1.10.3/Include": "cmsis/dsp/Include",
    "cmsisdsp-1.10.3/PrivateInclude": "cmsis/dsp/PrivateInclude",
    "cmsisdsp-1.10.3/Source/CommonTables": "cmsis/dsp/Source/CommonTables",
    "cmsisdsp-1.10.3/Source/TransformFunctions": "cmsis/dsp/Source/TransformFunctions",
    f"{CORE}/LICENSE.txt": "cmsis/core/LICENSE.txt",
    f"{CORE}/Include": "cmsis/core/Include",
    "pymonocypher-4.0.3.4/LICENSE.txt": "monocypher/LICENSE.txt",
    "pymonocypher-4.0.3.4/monocypher.c": "monocypher/monocypher.c",
    "pymonocypher-4.0.3.4/monocypher.h": "monocypher/monocypher.h",
}


def ready(out: Path) -> bool:
    """Return whether `out` holds what is pinned; the copy of requirements.txt is its last file."""
    stamp = out / PINNED.name
    return stamp.exists() and stamp.read_bytes() == PINNED.read_bytes()


def download(folder: Path) -> None:
    """Download the pinned packages to `folder`, and exit with pip's words where it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [
        "--require-hashes",
        "--no-binary",
        "cmsisdsp,pymonocypher",
        "--requirement",
        str(PINNED),
        "--dest",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}third_party: pip could not download {PINNED}; a network is needed, once")


def unpack(folder: Path, out: Path) -> None:
    """Unpack the packages in `folder`, and move what is kept of them to `out`."""
    for package in folder.iterdir():
        if package.suffix == ".whl":
            zipfile.ZipFile(package).extractall(folder)
        elif package.name.endswith(".tar.gz"):
            with tarfile.open(package) as archive:
                archive.extractall(folder)  # no filter: Python 3.11.2, Debian's, has none, and pip checked the hash
    for source, kept in KEPT.items():
        (out / kept).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(out / kept)


def main(here: Path = HERE) -> None:
    """Make each folder whole, or leave it as it was."""
    names = sorted({Path(kept).parts[0] for kept in KEPT.values()})
    if all(ready(here / name) for name in names):
        return
    with tempfile.TemporaryDirectory(dir=here, prefix="part.") as scratch:
        packages, made = Path(scratch, "packages"), Path(scratch, "made")
        packages.mkdir()
        download(packages)
        unpack(packages, made)
        for name in names:
            shutil.copy(PINNED, made / name)
            replace(made / name, here / name, Path(scratch, f"old {name}"))
    print(f"third_party: {', '.join(names)} in {os.path.relpath(here)}")


def replace(made: Path, out: Path, old: Path) -> None:
    """Put `made` in the place of `out`, which goes to `old`."""
    if out.exists():
        out.rename(old)
    try:
        made.rename(out)
    except OSError:
        if not ready(out):  # by another that was faster
            raise


if __name__ == "__main__":
    main()
