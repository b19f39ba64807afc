"""Split zips: what they hold is what the zip held that was cut, wherever it was cut."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.corpora import archives
from gunshot.corpora import split as reader
from tests.corpora import served

FILES = {f"set/x/{i}.wav": np.random.default_rng(i).bytes(700 * i) for i in range(1, 7)}


def held(path: Path) -> dict[str, bytes]:
    with archives.unpacked(path) as root:
        return {f"set/x/{p.name}": p.read_bytes() for p in root.rglob("*.wav")}


def lay(folder: Path, parts: list[bytes]) -> Path:
    *numbered, last = parts
    for i, body in enumerate(numbered, 1):
        (folder / f"s.z{i:02d}").write_bytes(body)
    (folder / "s.zip").write_bytes(last)
    return folder / "s.zip"


@given(st.integers(150, 20_000))
def test_a_split_zip_holds_what_was_packed(size):
    with tempfile.TemporaryDirectory() as folder:
        assert held(lay(Path(folder), served.split(served.zipped(FILES), size))) == FILES


@pytest.mark.parametrize("zip64", [[], ["-fz"]])
def test_one_of_info_zip(tmp_path, zip64):
    for name in (files := {f"set/x/{i}.wav": np.random.default_rng(i).bytes(30_000) for i in range(7)}):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(files[name])
    subprocess.run(["zip", "-q", "-r", *zip64, "-s", "64k", "s.zip", "set"], cwd=tmp_path, check=True)
    assert len(reader.parts(tmp_path / "s.zip")) == 4
    assert held(tmp_path / "s.zip") == files


def test_parts_that_are_missing_or_damaged_are_named(tmp_path):
    path = lay(tmp_path, served.split(served.zipped(FILES), 4000))
    assert held(path) == FILES
    (tmp_path / "s.z02").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"s\.zip: part \.z02 is missing beside s\.z03"):
        held(path)
    (tmp_path / "elsewhere").rename(tmp_path / "s.z02")
    last = max(tmp_path.glob("s.z0*"))
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(ValueError, match=r"damaged: it has \d parts .*, and \d are there"):
        held(path)
    last.write_bytes(content)
    damaged = bytearray((tmp_path / "s.z01").read_bytes())
    damaged[2000] ^= 255
    (tmp_path / "s.z01").write_bytes(damaged)
    with pytest.raises(ValueError, match="the archive is damaged"):
        held(path)
