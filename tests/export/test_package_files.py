"""Which files a package has, and the zip that they come in."""

import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from gunshot.export import packages

REPO = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", packages.KINDS)
def test_a_package_has_what_git_has_and_nothing_that_a_build_left(kind):
    folder = f"firmware/{packages.FOLDER}/{kind}/"
    listed = subprocess.run(["git", "ls-files", folder], cwd=REPO, capture_output=True, check=True, text=True).stdout
    assert sorted(packages.OWN[kind]) == sorted(name.removeprefix(folder) for name in listed.split())


def test_a_zip_is_as_small_as_deflate_makes_it(tmp_path):
    text = (REPO / "firmware/src/detector.c").read_bytes()
    packages.write(tmp_path / "x.zip", {"detector.c": text})

    def size(level: int) -> int:
        deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        return len(deflate.compress(text) + deflate.flush())

    (entry,) = zipfile.ZipFile(tmp_path / "x.zip").infolist()
    assert entry.compress_size == size(9) < size(6)
