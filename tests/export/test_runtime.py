"""The wheel for Python: its bytes, and what it finds where neither TensorFlow nor gunshot is."""

import doctest
import functools
import hashlib
import importlib
import itertools
import json
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename

from gunshot.base import audio, params, tables
from gunshot.detect import detector, listener, recording
from gunshot.device import emulator, parity
from gunshot.export import runtime
from gunshot.models.model import load_once
from gunshot.site import profile

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
P = params.load("audio", "chunks", "context", "features", "detector", "firmware", path=REPO / "params.yaml")
MODEL = REPO / "models/quantized/model.tflite"
SHA256 = hashlib.sha256(MODEL.read_bytes()).hexdigest() if MODEL.exists() else ""


@functools.cache
def library(preset: str) -> Path:
    return emulator.build(preset, firmware=REPO / "firmware") / parity.LIBRARY


def written(out: Path, machine: str = "x86_64", version: str = "1.2.3") -> Path:
    report, operating = (tables.read_json(MODEL.with_name(name)) for name in ("report.json", "operating.json"))
    return runtime.write(
        out,
        {
            name: library(preset) for name, preset in runtime.MACHINES[machine].items()
        },
        runtime.facts(report, operating, sha256=SHA256, version=version),
        machine=machine, firmware=REPO / "firmware", licence=REPO / "LICENSE", card="the card",
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """The Python of a new environment, with the wheel and what it says it needs."""
    root = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    python = root / "bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    (site,) = root.glob("lib/python*/site-packages")
    for name in ("numpy", "cffi", "pycparser", "_cffi_backend"):
        spec = importlib.util.find_spec(name)
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        for path in (place, place.with_name(f"{name}.libs")):
            if path.exists():
                (site / path.name).symlink_to(path)
    return python


@pytest.fixture(scope="module")
def package(wheel, tmp_path_factory):
    """The package itself, unpacked, in this process."""
    out = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(out)
    sys.path.insert(0, str(out))
    yield importlib.import_module("gunshot_runtime")
    sys.path.remove(str(out))
    for name in [name for name in sys.modules if name.startswith("gunshot_runtime")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    return parity.recording(sr=P.audio.sr)


def by_python(pcm: np.ndarray, logit: float | None = None):
    """What `gunshot detect` makes of samples: shots, and samples, levels and scores of its own figures for them."""
    model = load_once(MODEL)
    ear = listener.Listener(model, [model.threshold() if logit is None else logit], P)
    parts = []
    for push in (lambda: ear.push(pcm), ear.finish):
        (shots,), _ = push()
        levels = audio.spl_db(ear.peaks(shots), full_scale_pa=P.firmware.full_scale_pa)
        scores = model.score_of(shots[:, detector.LOGIT_SUM], windows=P.detector.windows)
        parts.append((shots, ear.samples(shots), levels, scores))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


PROGRAM = """
import importlib.util, json, sys, wave
import numpy as np
from gunshot_runtime import Detector
assert not [name for name in ("tensorflow", "gunshot", "numba", "scipy") if importlib.util.find_spec(name)]
with wave.open(sys.argv[1]) as sound:
    samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
detector = Detector()
whole = detector.detect(samples)
fed = [onset for i in range(0, len(samples), 1600) for onset in detector.feed(samples[i : i + 1600])]
print(json.dumps({"whole": whole, "fed": fed, "version": detector.version, "sha256": detector.model_sha256,
                  "threshold": detector.threshold}))
"""


def test_where_neither_tensorflow_nor_gunshot_is_it_finds_what_detect_finds(bare, pcm, tmp_path):
    file = tmp_path / "x.wav"
    audio.write_pcm(file, pcm, sr=P.audio.sr)
    done = subprocess.run([bare, "-I", "-c", PROGRAM, file], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said, model = json.loads(done.stdout), load_once(MODEL)
    time_s, sample, _, score, logit, level_db, peak, incident = zip(*said["whole"], strict=True)
    ear = listener.Listener(model, [model.threshold()], P)
    part = recording.joined(recording.listen(file, ear))
    assert list(time_s) == part.onset_s.tolist() and list(incident) == part.incident.tolist() and len(time_s) >= 3
    shots, samples, levels, scores = by_python(pcm)
    assert list(sample) == samples.tolist() and list(peak) == part.peak.tolist()
    assert list(logit) == (shots[:, detector.LOGIT_SUM] * model.step / P.detector.windows).tolist()
    assert np.abs(np.array(score) - scores).max() <= 1 / 65535
    assert np.abs(np.array(level_db) - levels).max() <= 0.1
    assert said["fed"] == said["whole"][: len(said["fed"])] and len(said["fed"]) >= 3
    assert (said["version"], said["sha256"]) == ("1.2.3", SHA256)
    assert said["threshold"] == pytest.approx(model.operating_point)


def test_the_same_model_gives_the_same_wheel_for_each_machine(wheel, tmp_path):
    again = written(tmp_path / "again")
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
    other = written(tmp_path / "other", "aarch64")
    for machine, path in (("x86_64", wheel), ("aarch64", other)):
        name, version, _, tags = parse_wheel_filename(path.name)
        assert (name, str(version)) == ("gunshot-runtime", "1.2.3") and path.stat().st_size < 1_000_000
        assert {str(tag) for tag in tags} == {f"py3-none-{each.format(machine)}" for each in runtime.PLATFORMS}
        with zipfile.ZipFile(path) as archive:
            names = {Path(each).name for each in archive.namelist()}
            about = archive.read("gunshot_runtime-1.2.3.dist-info/METADATA").decode()
        assert {f"{each}.so" for each in runtime.MACHINES[machine]} == {n for n in names if n.endswith(".so")}
        needs = [line for line in about.splitlines() if line.startswith("Requires-Dist")]
        assert needs == ["Requires-Dist: cffi>=1.15", "Requires-Dist: numpy>=1.22"]
        assert {"LICENSE", "LICENSE.CMSIS-DSP", "runtime.h", "model.json", "card.md"} <= names


def test_a_version_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"hatchling: .*version"):
        written(tmp_path, version="no version")
    assert not list(tmp_path.glob("*.whl"))


@given(st.floats(1e-6, 1 - 1e-6))
def test_a_threshold_sets_what_detect_sets(package, score):
    model = load_once(MODEL)
    settings = listener.settings(model, P, logit=model.threshold(score))
    assert package._of_score(score) == (score, (settings.on, settings.off, settings.even))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A signed profile at a lower threshold."""
    model, file = load_once(MODEL), tmp_path_factory.mktemp("site") / "site.json"
    logit, rate = model.threshold() - 1.5, ("false_incidents_per_hour", "false_incidents_per_hour_upper")
    content = {
        "site": "hall", "model_sha256": SHA256, "settings": profile.settings_of(model, P, logit),
        "threshold": profile.threshold(model, logit), "operating_point": profile.threshold(model, model.threshold()),
        "limit": 1.0, "proof": "unproven", "held_out": {"false_incidents": 0, "hours": 1.0, **dict.fromkeys(rate, 0.0)},
        "chosen_on": {
            "recordings": 1, "sha256": SHA256, "hours": 1.0, "silence_s": 0.0, "confirmed_s": 0.0, "suspects_s": 0.0,
            "options": {"no_shots": True, "leave_out": False, "lower": True}, "decisions_sha256": None,
        },
        "validation_recall": None, "rehearsal": None,
    }  # fmt: skip
    profile.write(file, content, Ed25519PrivateKey.generate())
    return file


def test_a_site_s_threshold_decides(package, site, pcm):
    at = package.Detector(site=site)
    logit = json.loads(site.read_text())["threshold"]["logit"]
    _, samples, _, _ = by_python(pcm, logit)
    assert [onset.sample for onset in at.detect(pcm)] == samples.tolist()
    assert len(samples) > len(package.Detector().detect(pcm))
    assert at.threshold == json.loads(site.read_text())["threshold"]["score"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"kind": "other"}, "must be a site's profile of version 1"),
        ({"version": 2}, "must be a site's profile of version 1"),
        ({"settings": None}, "must be a site's profile of version 1"),
        ({"settings": {"on": "x"}}, "must be a site's profile of version 1"),
        ({"model_sha256": "0" * 64}, f"model_sha256={'0' * 16} must be {SHA256[:16]}"),
        ({"settings": {"on": 1, "off": 1, "even": 1, "hop": 9}}, r"settings=\{'hop': 9\} of the detector must be"),
    ],
)
def test_a_profile_that_is_not_for_this_package_is_refused(package, site, tmp_path, change, rule):
    file = tmp_path / "hall.json"
    file.write_text(json.dumps(json.loads(site.read_text()) | change))
    with pytest.raises(ValueError, match=f"hall.json: {rule}.*gunshot calibrate"):
        package.Detector(site=file)


def test_what_cannot_be_heard_is_refused_with_its_rule(package, tmp_path):
    for threshold in (0, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="must be above 0 and below 1"):
            package.Detector(threshold=threshold)
    with pytest.raises(ValueError, match="only one can decide"):
        package.Detector(threshold=0.5, site="x.json")
    with pytest.raises(FileNotFoundError, match=r"none\.json: no such file"):
        package.Detector(site=tmp_path / "none.json")
    for samples in (np.zeros(9, np.int32), np.zeros((9, 2), np.int16), np.array("x")):
        with pytest.raises(ValueError, match=r"must be int16, or float in \[-1, 1\), of one channel"):
            package.Detector().feed(samples)


def test_floats_are_rounded_as_detect_rounds_them(package, pcm):
    at = package.Detector()
    floats = pcm.astype(np.float32) / 32768
    assert at.detect(floats) == at.detect(floats.astype(float) + 1e-7) == at.detect(pcm)
    floats[::5000] = np.nan
    assert at.detect(floats) == at.detect(np.where(np.isnan(floats), np.int16(0), pcm))
    assert at.detect([0.0]) == at.detect(np.zeros(0)) == []


@given(steps=st.lists(st.integers(-32768, 32767), max_size=9), kind=st.sampled_from(["e", "f", "d", "g"]))
@example([32767, -32768], "e")
def test_floats_of_any_width_give_their_nearest_sample(package, steps, kind):
    floats = (np.array(steps, "d") / 32768).astype(kind)
    wanted = np.clip(np.rint(floats.astype("d") * 32768), -32768, 32767)
    assert package._int16(floats).tolist() == wanted.tolist()


def test_detectors_in_threads_do_not_disturb_each_other(package, pcm):
    alone, results = package.Detector().detect(pcm), {}

    def feed(number: int) -> None:
        at = package.Detector()
        blocks = itertools.pairwise([*range(0, len(pcm), 800 + number), len(pcm)])
        results[number] = [onset for start, stop in blocks for onset in at.feed(pcm[start:stop])]

    threads = [threading.Thread(target=feed, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[i] == alone[: len(results[i])] and len(results[i]) >= 3 for i in range(4))


def test_the_examples_run(package, pcm, tmp_path, monkeypatch, capsys):
    """That of the package, and the first of its page."""
    tried = doctest.testmod(package)
    assert (tried.failed, tried.attempted) == (0, 3)
    pcm.tofile(tmp_path / "sound.raw")
    monkeypatch.chdir(tmp_path)
    page = (REPO / "firmware/ports/runtime/README.md").read_text()
    exec(re.findall(r"^```python\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)[0], {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(package.Detector().detect(pcm)) >= 3 and "dB" in printed[0]
