"""The OTA manifest that Python signs, checked by the firmware's C, against hashlib and cryptography."""

import ctypes
import hashlib
import random
import runpy
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gunshot.promotion import ota, registry
from gunshot.signing import keys, record

FIRMWARE = Path(__file__).parents[2] / "firmware"
MONOCYPHER = FIRMWARE / "third_party" / "monocypher"
SOURCES = [FIRMWARE / "src" / "ota.c", FIRMWARE / "src" / "sha2.c", MONOCYPHER / "monocypher.c"]
INCLUDE = [f"-I{FIRMWARE / 'src'}", f"-I{MONOCYPHER}"]
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
IMAGE = bytes(range(256)) * 5
pytestmark = pytest.mark.slow
CLASS = "pole-mounted-mk2"  # 16 characters: no zero ends it
TAKE, LAYOUT, SIGNATURE, DEVICE, OLDER, OTHER_IMAGE = range(6)
L = 2**252 + 27742317777372353535851937790883648493  # the order of Ed25519's group


class Device(ctypes.Structure):
    _fields_ = [("public_key", ctypes.c_char_p), ("device_class", ctypes.c_char_p), ("installed", ctypes.c_uint32)]


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    """The firmware's ota.c and sha2.c as a library of this machine, warnings errors, undefined behaviour a trap."""
    runpy.run_path(str(FIRMWARE / "third_party" / "fetch.py"))["main"]()
    library = tmp_path_factory.mktemp("ota") / "ota.so"
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", *INCLUDE, *SOURCES, "-o", library], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = tmp_path_factory.mktemp("key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUNSHOT_KEY", str(folder / "key.pem"))
        keys.create("operator", folder)
        yield keys.private()


@pytest.fixture(scope="module")
def manifest(key):
    """A manifest as the command makes it, of line 7 of a record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "read", lambda root: [{"stage": "prod", "number": 7, "version": "v1.3.0"}])
        patch.setattr(record, "faults", lambda root: [])
        return ota.manifest(IMAGE, device=CLASS)


def verdict(
    c, manifest: bytes, image: bytes = IMAGE, *, key, device: str = "pole-mounted-mk2", installed: int = 7
) -> int:
    trusted = Device(keys.raw(key.public_key()), device.encode(), installed)
    return c.gunshot_ota_verify(
        manifest, ctypes.c_size_t(len(manifest)), image, ctypes.c_size_t(len(image)), ctypes.byref(trusted)
    )


def test_a_device_takes_what_was_promoted(c, manifest, key):
    assert len(manifest) == ota.SIZE == 144
    assert verdict(c, manifest, key=key) == TAKE
    assert verdict(c, manifest, key=key, installed=0) == TAKE
    assert c.gunshot_ota_version(manifest) == 7
    magic, layout, version, size, device, model, sha256 = struct.unpack("<4sIII16s16s32s", manifest[:80])
    assert (magic, layout, version, size) == (b"GSOT", 1, 7, len(IMAGE))
    assert (device, model.rstrip(b"\0"), sha256) == (b"pole-mounted-mk2", b"v1.3.0", hashlib.sha256(IMAGE).digest())


FLASHED = """
#include <stdio.h>

#include "ota.h"
#include "ota_key.h"

int main(int argc, char **argv) {
  uint8_t manifest[GUNSHOT_OTA_BYTES], image[4096];
  FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL, *g = argc == 3 ? fopen(argv[2], "rb") : NULL;
  if (!f || !g) return 99;
  size_t n = fread(manifest, 1, sizeof manifest, f), m = fread(image, 1, sizeof image, g);
  gunshot_ota_device device = {gunshot_ota_key, "pole-mounted-mk2", GUNSHOT_OTA_INSTALLED};
  return (int)gunshot_ota_verify(manifest, n, image, m, &device);
}
"""


@pytest.mark.slow
def test_a_device_built_with_the_exported_header_takes_its_signer_s_images_alone(c, tmp_path, monkeypatch):
    def signer(name: str) -> Ed25519PrivateKey:
        monkeypatch.setenv("GUNSHOT_KEY", str(tmp_path / f"{name}.pem"))
        keys.create(name, tmp_path / record.KEYS)
        return keys.private()

    def says() -> int:
        (tmp_path / "manifest").write_bytes(ota.manifest(IMAGE, device=CLASS, root=tmp_path))
        return subprocess.run([tmp_path / "flashed", tmp_path / "manifest", tmp_path / "image"]).returncode

    event = {"event": "promoted", "stage": "prod", "version": "v1.0.0"}
    (tmp_path / "image").write_bytes(IMAGE)
    (tmp_path / "flashed.c").write_text(FLASHED)
    ada = signer("ada")
    record.append(event, ada, root=tmp_path)
    older = ota.manifest(IMAGE, device=CLASS, root=tmp_path)
    entry = record.append(event, ada, root=tmp_path)
    (tmp_path / ota.HEADER).write_text(ota.header(entry, root=tmp_path))
    built = [f"-I{tmp_path}", *INCLUDE, tmp_path / "flashed.c", *SOURCES, "-o", tmp_path / "flashed"]
    subprocess.run(["gcc", *FLAGS, *built], check=True)
    assert says() == TAKE
    (tmp_path / "manifest").write_bytes(older)
    done = subprocess.run([tmp_path / "flashed", tmp_path / "manifest", tmp_path / "image"])
    assert done.returncode == OLDER
    signer("bo")  # trusted by the record, not by this device
    assert says() == SIGNATURE


def test_a_device_refuses_an_older_version(c, manifest, key):
    assert verdict(c, manifest, key=key, installed=8) == OLDER
    assert verdict(c, manifest, key=key, installed=2**32 - 1) == OLDER


def test_a_device_refuses_what_is_for_another_class(c, manifest, key):
    for device in ("pole-mounted-mk3", "pole-mounted-mk", ""):
        assert verdict(c, manifest, key=key, device=device) == DEVICE


def test_a_device_refuses_another_signer(c, manifest, key):
    stranger = Ed25519PrivateKey.generate()
    assert verdict(c, manifest, key=stranger) == SIGNATURE
    assert verdict(c, manifest[:80] + stranger.sign(manifest[:80]), key=key) == SIGNATURE
    assert verdict(c, manifest[:80] + bytes(64), key=key) == SIGNATURE


def test_a_device_refuses_a_manifest_with_any_bit_flipped(c, manifest, key):
    for i in range(len(manifest)):
        for bit in (1, 0x80):
            changed = manifest[:i] + bytes([manifest[i] ^ bit]) + manifest[i + 1 :]
            assert verdict(c, changed, key=key) == (LAYOUT if i < 8 else SIGNATURE), (i, bit)


def test_a_device_refuses_an_image_with_any_byte_changed_or_missing(c, manifest, key):
    for i in range(0, len(IMAGE), 7):
        changed = IMAGE[:i] + bytes([IMAGE[i] ^ 1]) + IMAGE[i + 1 :]
        assert verdict(c, manifest, changed, key=key) == OTHER_IMAGE, i
    for image in (IMAGE[:-1], IMAGE + b"\0", b""):
        assert verdict(c, manifest, image, key=key) == OTHER_IMAGE


def test_a_device_refuses_a_manifest_that_is_cut_off(c, manifest, key):
    for size in (0, 1, 80, 143):
        assert verdict(c, manifest[:size], key=key) == LAYOUT
    assert verdict(c, manifest + b"\0", key=key) == LAYOUT


def test_a_second_form_of_the_same_signature_is_refused(c, manifest, key):
    """S + L verifies in a careless implementation (RFC 8032, 8.4)."""
    s = int.from_bytes(manifest[112:], "little") + L
    assert verdict(c, manifest[:112] + s.to_bytes(32, "little"), key=key) == SIGNATURE


@given(st.binary(min_size=1, max_size=400), st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32))
def test_c_takes_what_cryptography_signs(c, image, version, seed):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    content = ota.LAYOUT.pack(b"GSOT", 1, version, len(image), b"a", b"v1.0.0", hashlib.sha256(image).digest())
    assert verdict(c, content + key.sign(content), image, key=key, device="a", installed=version) == TAKE


@pytest.mark.parametrize(("name", "context"), [("sha256", 128), ("sha512", 256)])
def test_sha2_is_hashlib_s_for_each_length_and_any_pieces(c, name, context):
    call = {part: getattr(c, f"gunshot_{name}_{part}") for part in ("start", "add", "end")}
    rng = random.Random(0)
    for size in [*range(300), 5000]:
        message, state = rng.randbytes(size), ctypes.create_string_buffer(context)
        digest = ctypes.create_string_buffer(hashlib.new(name).digest_size)
        call["start"](state)
        cut = rng.randint(0, size)
        for piece in (message[:cut], message[cut:]):
            call["add"](state, piece, ctypes.c_size_t(len(piece)))
        call["end"](state, digest)
        assert digest.raw == hashlib.new(name, message).digest(), size


@pytest.mark.parametrize("device", ["", "seventeen letters", "Gerät", "a\0b"])
def test_a_class_that_the_layout_cannot_hold_is_refused(key, monkeypatch, device):
    monkeypatch.setattr(record, "read", lambda root: [{"stage": "prod", "number": 1, "version": "v1.0.0"}])
    monkeypatch.setattr(record, "faults", lambda root: [])
    with pytest.raises(ValueError, match="must be 1 to 16 characters of ASCII"):
        ota.manifest(IMAGE, device=device)


def test_nothing_is_signed_before_something_is_promoted(key, tmp_path):
    with pytest.raises(ValueError, match="nothing is in production"):
        ota.manifest(IMAGE, device="a", root=tmp_path)
    assert registry.champion([]) is None
