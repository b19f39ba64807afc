"""A site's profile on a device: the same bytes as in Python decide the same; wrong ones leave none."""

import ctypes
import dataclasses
import struct
import subprocess
import zlib

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.detect import listener
from gunshot.device import incidents
from gunshot.device import messages as wire
from gunshot.device.messages import Incident
from gunshot.site import verifier
from gunshot.site.trunk import Trunk
from tests.firmware import driven
from tests.firmware.driven import MODEL, SETTINGS, p, shots
from tests.firmware.test_compiled import of_context
from tests.firmware.test_model_compiled import CRC, OK, TRUNCATED, TYPE, VERSION, Library

pytestmark = pytest.mark.slow
NUMBER, HOP, WIDTH = 0xA535376D74FA5903, 4, 7


def drawn(seed: int, vectors: np.ndarray) -> verifier.Verifier:
    """A verifier that takes half of these vectors' windows for the place's own."""
    _, positions, width = vectors.shape
    weights = np.random.default_rng(seed).integers(-128, 128, (verifier.POOLS, width)).astype(np.int8)
    free = verifier.Verifier(weights, 0, positions)
    return verifier.Verifier(weights, -int(np.median(free.margins(vectors))), positions)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The C of a network, its trunk in Python, and windows of a stream."""
    model = of_context(71)
    library = Library(model, tmp_path_factory.mktemp("site"))
    rng = np.random.default_rng(0)
    codes = rng.normal(rng.uniform(-90, 90, (32, 1)), 60, (32, 71 + HOP * 199))
    codes = np.clip(np.rint(codes + 40 * np.sin(np.arange(codes.shape[1]) / 9)), -128, 127).astype(np.int8)
    windows = np.lib.stride_tricks.sliding_window_view(codes, 71, axis=1)[:, ::HOP].swapaxes(0, 1)
    assert library.init(library.right) == OK
    return library, Trunk(model, hop=HOP), windows


def use(library: Library, content: bytes, model: int = NUMBER) -> int:
    return library.c.gunshot_site_use(content, ctypes.c_size_t(len(content)), ctypes.c_uint64(model))


def heard(library: Library, windows: np.ndarray) -> np.ndarray:
    library.reset()
    status, logits = zip(*(library.score(window) for window in windows), strict=True)
    assert set(status) == {OK}
    return np.array(logits, np.int16)


def packed(one: verifier.Verifier) -> bytes:
    return verifier.packed(one, SETTINGS, model=NUMBER)


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_s_logits_are_those_of_python(network, seed):
    library, trunk, windows = network
    use(library, b"")
    alone = heard(library, windows)
    at = np.flatnonzero(alone >= verifier.ASKED)
    vectors = trunk.vectors(windows[at])
    one = drawn(seed, vectors)
    content = packed(one)
    assert len(content) <= verifier.MOST_BYTES and use(library, content) == OK
    expected = verifier.unpacked(content, model=NUMBER).decide(alone, at, vectors)
    assert np.array_equal(heard(library, windows), expected)
    assert 0.3 < (expected != alone).sum() / len(at) < 0.7 and len(at) > 20  # or it proved nothing


@given(st.integers(0, 2**16))
@settings(max_examples=40)
def test_extreme_vectors_and_weights_overflow_nothing(network, seed):
    library, rng = network[0], np.random.default_rng(seed)
    vectors = rng.choice(np.array([-128, 0, 127], np.int8), (1, 13, WIDTH))
    bias = int(rng.choice([*rng.integers(-(2**24), 2**24, 4), verifier.MOST_BIAS, -verifier.MOST_BIAS]))
    one = verifier.Verifier(rng.choice(np.array([-128, 127], np.int8), (3, WIDTH)), bias, 13)
    assert use(library, packed(one)) == OK
    shape = ctypes.c_size_t(13), ctypes.c_size_t(WIDTH)
    logit = library.c.gunshot_site_logit(ctypes.c_int16(9), vectors.tobytes(), *shape)
    assert ctypes.c_int16(logit).value == (9 if one.margins(vectors)[0] >= 0 else verifier.OWN)


def test_what_is_wrong_with_the_bytes_leaves_no_site(network):
    library, trunk, windows = network
    content = packed(drawn(0, trunk.vectors(windows)))
    use(library, b"")
    alone = heard(library, windows[:40])

    def anew(at: int, value: int) -> bytes:
        rest = content[4:at] + bytes([value]) + content[at + 1 :]
        return struct.pack("<I", zlib.crc32(rest)) + rest

    def whole(bias: int = 0, width: int = WIDTH, **thresholds: int) -> bytes:
        numbers = {"on": 9, "off": 5, "even": 0} | thresholds
        rest = verifier.HEADER.pack(0, 1, 13, width, 3, NUMBER, *numbers.values(), bias)[4:] + bytes(3 * width)
        return struct.pack("<I", zlib.crc32(rest)) + rest

    wrong = [(content[:size], {TRUNCATED, CRC}) for size in range(len(content))]
    wrong += [(content + b"\0", {CRC}), (content + bytes(verifier.MOST_BYTES), {TRUNCATED}), (anew(4, 2), {VERSION})]
    wrong += [(anew(7, 2), {VERSION}), (anew(6, 30), {TRUNCATED}), (bytes(len(content)), {CRC})]
    wrong += [(whole(width=57), {TRUNCATED}), (whole(off=10), {TYPE}), (whole(even=6), {TYPE})]
    wrong += [(whole(bias=sign * 2**30), {TYPE}) for sign in (-1, 1)] + [(whole(bias=-(2**31)), {TYPE})]
    wrong += [(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :], {CRC}) for i in range(0, len(content), 7)]
    for spoilt, statuses in wrong:
        assert use(library, content) == OK and use(library, spoilt) in statuses, spoilt
        with pytest.raises(ValueError, match="calibrate again"):
            verifier.unpacked(spoilt, model=NUMBER)
    assert use(library, whole()) == OK and use(library, content, NUMBER + 1) == TYPE
    for other in (
        whole(width=WIDTH - 1),
        whole(width=0),
        anew(5, 12),
    ):  # whole, but for other vectors: it would never be asked
        assert use(library, content) == OK and use(library, other) == TYPE
    assert np.array_equal(heard(library, windows[:40]), alone)


def test_the_host_follows_a_site_s_thresholds_and_runs_without_what_it_cannot_use(tmp_path):
    """The driver's model has one code, which is 0: a bias below 0 takes all that it hears for the place's own."""
    program = driven.build_host(tmp_path)
    pcm = np.concatenate([shots([0.7], 3.0, peak=6000), shots([0.7, 0.8], 3.0)])
    sf.write(tmp_path / "x.wav", pcm, p.audio.sr)
    strict, point = listener.settings(MODEL, p, logit=60.0), SETTINGS
    own, nothing = incidents.model_number(driven.ARTIFACT), verifier.Verifier(np.zeros((3, 1), np.int8), 0, 1)
    wide = verifier.Verifier(np.zeros((3, 31), np.int8), 0, 13)
    for name, one, number in (
        ("site", nothing, own), ("all", dataclasses.replace(nothing, bias=-1), own), ("other", nothing, own + 1),
        ("shape", wide, own),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(verifier.packed(one, strict, model=number))

    def run(site: str) -> tuple[str, list[Incident], float]:
        more = [tmp_path / "messages", "0", tmp_path / site]
        done = subprocess.run([program, tmp_path / "x.wav", *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        sent = wire.decode_all((tmp_path / "messages").read_bytes())
        return done.stderr, [m for m in sent if isinstance(m, Incident)], sent[0].detector.operating_point

    def expected(s) -> list[int]:
        ear = listener.Listener(MODEL, [0.0], p)
        ear._settings = [s]
        ear.gap()
        (fired,), _ = ear.push(pcm)
        return sorted(ear.samples(fired).tolist())

    said, sent, score = run("site")
    assert said == "" and sorted(o for m in sent for o in m.onsets) == expected(strict) != expected(point)
    assert run("all") == ("", [], score)
    for site in ("other", "shape", "gone"):
        said, sent, plain = run(site)
        assert f"{site}: no site verifier of this model; the operating point decides" in said
        assert sorted(o for m in sent for o in m.onsets) == expected(point) and plain < score
