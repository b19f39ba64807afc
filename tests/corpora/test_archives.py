"""Archives are unpacked whole and inside, or refused by name, and nothing stays behind."""

import io
import os
import re
import shutil
import stat
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import nullcontext
from pathlib import Path

import py7zr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot import cli, corpora
from gunshot.corpora import archives

FILES = {"gun/a.wav": b"1", "gun/x/b, (é).wav": b"22", "env/c.wav": os.urandom(5000)}


def pack(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(top + name, content)
    elif path.suffix == ".7z":
        with py7zr.SevenZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(content, top + name)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(top + name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def held(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    where = tmp_path / "temporary"
    where.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(where))
    yield
    assert list(where.iterdir()) == []


@pytest.mark.parametrize("end", archives.SUFFIXES)
@pytest.mark.parametrize("top", ["", "set-master/"])
def test_an_archive_is_its_folder(tmp_path, end, top):
    path = pack(tmp_path / f"My Set{end}", FILES, top)
    with archives.unpacked(path) as root:
        assert held(root) == FILES
        assert root.name == (top.strip("/") or "My Set")


def test_a_single_class_or_weapon_is_not_entered(tmp_path):
    for name in ("gun/x/a.wav", "AK-47/a.wav"):
        with archives.unpacked(pack(tmp_path / "s.zip", {name: b"1"})) as root:
            assert list(held(root)) == [name]


# What people's tools put beside a folder, at any depth.
BESIDE = {
    "__MACOSX/": {"__MACOSX/gun/._a.wav": b"0", "__MACOSX/._gun": b"0"},
    "._": {"._gun": b"0", "._README": b"0"},
    "README": {"README.md": b"hello", "LICENCE": b"mine", "list.csv": b"a,b"},
    ".DS_Store": {".DS_Store": b"0"},
    "papers/": {"papers/old/a.pdf": b"0", "papers/b.wav": b"0"},
}


@given(
    st.sampled_from([".zip", ".tar.gz"]),
    st.lists(st.tuples(st.sampled_from(["z", "my recs", "data"]), st.sets(st.sampled_from(list(BESIDE)))), max_size=3),
    st.sets(st.sampled_from(list(BESIDE))),
)
def test_a_folder_is_where_people_put_it(end, above, beside):
    """Folders in folders, each level with something beside it: the only one that holds gun/ or env/ is meant."""
    files, top = {}, ""
    for name, more in above:
        files |= {top + key: content for each in more for key, content in BESIDE[each].items()}
        top += f"{name}/"
    files |= {top + key: content for each in beside for key, content in BESIDE[each].items()}
    files |= {top + key: content for key, content in FILES.items()}
    with (
        tempfile.TemporaryDirectory() as folder,
        archives.unpacked(pack(Path(folder) / f"s{end}", files)) as root,
    ):
        kept = held(corpora.locate("folder", root))
        assert kept.items() >= FILES.items()
        assert not any(part == "__MACOSX" or part.startswith("._") for name in kept for part in name.split("/"))


def test_of_several_folders_none_is_guessed(tmp_path):
    files = {f"{site}/{name}": content for site in ("north", "south") for name, content in FILES.items()}
    for path in (pack(tmp_path / "two.zip", files), tmp_path / "plain"):
        for name, content in files.items():
            (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "plain" / name).write_bytes(content)
        message = re.escape(f"{path}: 2 folders hold gun/ or env/ (north, south); import each by itself")
        with (
            pytest.raises(ValueError, match=message),
            archives.unpacked(path) if path.is_file() else nullcontext(path) as root,
        ):
            corpora.locate("folder", root)


@pytest.mark.parametrize("layout", ["folder", "esc50", "kaggle-gunshots"])
def test_what_an_archive_holds_instead_is_told_without_the_temporary_folder(tmp_path, monkeypatch, layout):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(Path(__file__).parents[2] / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    pack(tmp_path / "z.zip", {"z/Guns/notes.txt": b"1", "z/Street/x/b.md": b"1", "z/README": b"1"})
    monkeypatch.setattr(sys, "argv", ["gunshot", "import", layout, "z.zip"])
    with pytest.raises(SystemExit) as e:
        cli.main()
    assert e.value.code.startswith("error: z.zip/z: must hold")
    assert e.value.code.endswith("; what is there is Guns/, README, Street/")
    assert not (tmp_path / "data/raw/z").exists()


@pytest.mark.parametrize("end", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", ["../out.wav", "gun/../../out.wav", "/abs.wav", "gun\\..\\out.wav"])
def test_a_path_out_of_the_archive_is_refused(tmp_path, end, name):
    path = pack(tmp_path / f"s{end}", {"gun/a.wav": b"1", name: b"2"})
    with pytest.raises(ValueError, match=r"s\..*must lie inside the archive"), archives.unpacked(path):
        pass
    assert not (tmp_path / "out.wav").exists() and not Path("/abs.wav").exists()


def packed_on_windows(path: Path, files: dict[str, bytes]) -> Path:
    """Return a zip with backslashes, folders among its members, as .NET wrote it before 4.6.1."""
    folders = {name.rsplit("/", 1)[0] for name in files if "/" in name}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**{f"{folder}/": b"" for folder in folders}, **files}.items():
            info = zipfile.ZipInfo(name.replace("/", "\\"))
            info.create_system = archives.MSDOS
            archive.writestr(info, content)
    return path


def test_a_zip_of_windows_with_backslashes_is_its_folder(tmp_path):
    with archives.unpacked(packed_on_windows(tmp_path / "s.zip", FILES)) as root:
        assert held(root) == FILES


@pytest.mark.parametrize("name", ["../out.wav", "gun/../../out.wav", "/abs.wav", "C:/abs.wav", "//host/share/abs.wav"])
def test_a_path_out_of_a_zip_of_windows_is_refused(tmp_path, name):
    path = packed_on_windows(tmp_path / "s.zip", {"gun/a.wav": b"1", name: b"2"})
    with pytest.raises(ValueError, match=r"s\..*must lie inside the archive"), archives.unpacked(path):
        pass
    assert not list(tmp_path.rglob("*out.wav")) and not Path("/abs.wav").exists()


def out_of_it() -> bytes:
    """Return a 7z with the member ../out.wav, which py7zr does not write: the name is changed, and its checksums."""
    held = io.BytesIO()
    with py7zr.SevenZipFile(held, "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(b"1", "AB/out.wav")
    content = bytearray(held.getvalue().replace("AB/".encode("utf-16-le"), "../".encode("utf-16-le")))
    offset, size = struct.unpack_from("<QQ", content, 12)
    struct.pack_into("<L", content, 28, zlib.crc32(content[32 + offset : 32 + offset + size]))
    struct.pack_into("<L", content, 8, zlib.crc32(content[12:32]))
    return bytes(content)


def test_a_7z_with_a_link_a_password_or_a_path_out_of_it_is_refused(tmp_path):
    (tmp_path / "gun").mkdir()
    (tmp_path / "gun/link.wav").symlink_to("/etc/hostname")
    with py7zr.SevenZipFile(tmp_path / "link.7z", "w") as archive:
        archive.writeall(tmp_path / "gun", "gun")
    for hidden in (False, True):
        with py7zr.SevenZipFile(tmp_path / f"{hidden}.7z", "w", password="x", header_encryption=hidden) as archive:
            archive.writestr(b"1", "gun/a.wav")
    (tmp_path / "out.7z").write_bytes(out_of_it())
    for name, rule in {
        "link": "a member must be a file or a folder",
        "False": "encrypted",
        "True": "encrypted",
        "out": r"\.\./out\.wav: the path of a member must lie inside the archive",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}\.7z.*{rule}"), archives.unpacked(tmp_path / f"{name}.7z"):
            pass
    assert not (tmp_path / "out.wav").exists()


def test_links_and_devices_are_refused(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("gun/link.wav")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/hostname")
    with (
        pytest.raises(ValueError, match=r"gun/link\.wav: a member must be a file or a folder"),
        archives.unpacked(path),
    ):
        pass
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        path = tmp_path / "s.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("gun/odd")
            info.type, info.linkname = kind, "/etc/hostname"
            archive.addfile(info)
        with pytest.raises(ValueError, match="gun/odd: a member must be a file or a folder"), archives.unpacked(path):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("end", [".zip", ".tar.gz", ".tar.xz", ".7z"])
def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path, end, monkeypatch):
    monkeypatch.setattr(archives, "SLACK", 1000)
    path = pack(tmp_path / f"bomb{end}", {"gun/a.wav": bytes(40_000_000)})
    with pytest.raises(ValueError, match=r"bomb.*gun/a\.wav: unpacks to over 100 times"), archives.unpacked(path):
        pass


def test_encrypted_damaged_and_double(tmp_path):
    path = pack(tmp_path / "s.zip", FILES)
    locked = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(signature) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(ValueError, match="encrypted; unpack it yourself"), archives.unpacked(tmp_path / "locked.zip"):
        pass
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "double.zip", "w") as archive:
        archive.writestr("gun/a.wav", b"1")
        archive.writestr("gun/a.wav", b"2")
    with (
        pytest.raises(ValueError, match=r"gun/a\.wav: an archive must hold a file once"),
        archives.unpacked(tmp_path / "double.zip"),
    ):
        pass


@pytest.mark.slow
@given(st.sampled_from([".zip", ".tar.gz", ".tar", ".7z"]), st.integers(0, 5000), st.binary(min_size=1, max_size=4))
def test_whatever_is_damaged_is_an_error_with_the_archive_s_name_or_unpacks(end, at, noise):
    with tempfile.TemporaryDirectory() as folder:
        path = pack(Path(folder) / f"s{end}", FILES)
        content = bytearray(path.read_bytes())
        content[at % len(content) : at % len(content) + len(noise)] = noise
        path.write_bytes(content[: len(content) - at % 3])
        try:
            with archives.unpacked(path) as root:
                held(root)
        except ValueError as e:
            assert str(path) in str(e)
