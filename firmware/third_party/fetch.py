#!/usr/bin/env python3
"""Bring CMSIS-DSP's source and CMSIS-Core's headers to firmware/third_party/cmsis, where they are not there yet.

They come in Python packages that carry them, whose SHA-256 pip checks: DOC/decisions/017-cmsis-dsp-by-hash.md.
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
KEPT = {  # in the package: in `cmsis`
    "cmsisdsp-1.10.3/LICENSE": "dsp/LICENSE",
    "cmsisdsp-1.10.3/Include": "dsp/Include",
    "cmsisdsp-1.10.3/PrivateInclude": "dsp/PrivateInclude",
    "cmsisdsp-1.10.3/Source/CommonTables": "dsp/Source/CommonTables",
    "cmsisdsp-1.10.3/Source/TransformFunctions": "dsp/Source/TransformFunctions",
    f"{CORE}/LICENSE.txt": "core/LICENSE.txt",
    f"{CORE}/Include": "core/Include",
}


def ready(out: Path) -> bool:
    """Return whether `out` holds what is pinned; the copy of requirements.txt is its last file."""
    stamp = out / PINNED.name
    return stamp.exists() and stamp.read_bytes() == PINNED.read_bytes()


def download(folder: Path) -> None:
    """Download the pinned packages to `folder`, and exit with pip's words where it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--no-binary", "cmsisdsp", "--requirement", str(PINNED), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}third_party: pip could not download {PINNED}; a network is needed, once")


def unpack(folder: Path, out: Path) -> None:
    """Unpack the packages in `folder`, and move what is kept of them to `out`."""
    for package in folder.iterdir():
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                archive.extractall(folder)
        elif package.name.endswith(".tar.gz"):
            with tarfile.open(package) as archive:
                archive.extractall(folder, filter="data")
    for source, kept in KEPT.items():
        (out / kept).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(out / kept)
    shutil.copy(PINNED, out)


def main(out: Path = HERE / "cmsis") -> None:
    """Make `out` whole, or leave it as it was."""
    if ready(out):
        return
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as scratch:
        packages, made = Path(scratch, "packages"), Path(scratch, "made")
        packages.mkdir()
        download(packages)
        unpack(packages, made)
        if out.exists():
            out.rename(Path(scratch, "old"))
        try:
            made.rename(out)
        except OSError:
            if not ready(out):  # by another that was faster
                raise
    print(f"third_party: {os.path.relpath(out)}")


if __name__ == "__main__":
    main()
