"""The site verifier: what it learns, when it is taken, what it costs; profiles with one, and for another trunk."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gunshot.base import params, tables
from gunshot.detect import listener
from gunshot.detect.detector import GROUPS
from gunshot.models.model import Model
from gunshot.signing import keys, record
from gunshot.site import calibration, lessons, profile, rehearsal, trunk, verifier
from gunshot.site.decisions import DISMISSED, Decision
from gunshot.site.heard import Ear, Heard, Windows
from gunshot.site.lessons import Lesson, School
from tests.site.conftest import SR, recording

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
POSITIONS, WIDTH, LOUD, QUIET = 13, 8, 100, -40  # logits in steps of 0.05: 5 and -2
REPORT = {
    "calibration": {"slope": 1.0, "intercept": 0.0},
    "quantization": {"input_scale": 0.5, "input_zero_point": 0, "output_scale": 0.05, "output_zero_point": 0},
}
SHOT, DOOR = 60, -60  # about which the codes of their vectors lie
p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams", path=ROOT / "params.yaml")


@pytest.fixture
def model(tmp_path, monkeypatch) -> Model:
    """An int8 network by its name alone; what it hears stands in `Windows`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes(b"network")
    tables.write_json(tmp_path / "operating.json", {"logit": 3.0})
    monkeypatch.setattr(trunk, "of_model", lambda *_, **__: SimpleNamespace(positions=POSITIONS, width=WIDTH))
    return Model(tmp_path / "m.tflite", REPORT, logit=None, window=(32, 71), step=0.05, code_db=0.5, code_zero=0)


def windows(duration_s: float, at_s: list[float], about: list[int], seed: int = 0) -> Windows:
    """Sounds at some times, four windows each, whose vectors' codes lie about a number each."""
    rng, n = np.random.default_rng(seed), int(duration_s * SR / 112 / p.detector.hop)
    logits, at = np.full(n, QUIET, np.int16), []
    for t in at_s:
        first = int(t * SR / 112 / p.detector.hop)
        at += range(first, first + 4)
    logits[at] = LOUD
    codes = rng.normal(np.repeat(about, 4)[:, None, None], 25, (len(at), POSITIONS, WIDTH)).clip(-128, 127)
    rises = np.zeros((n * p.detector.hop + 71, GROUPS), np.int16)
    return Windows(rises, logits, np.array(at, int), codes.astype(np.int8), np.zeros((0, 32, 71), np.int8))


def heard(model: Model, duration_s: float, at_s: list[float], about: list[int], began: str | None = None) -> Heard:
    logits, kept = calibration.logits_of(model), windows(duration_s, at_s, about)
    ear = Ear(model, logits, model.threshold(), p)
    ear.again(kept.rises, kept.logits)
    one = recording("a.wav", duration_s, began=began)
    return dataclasses.replace(one, alerts=[np.array(each) for each in ear.opened], windows=kept)


@pytest.fixture
def school(model, monkeypatch) -> School:
    """Shots that are told from doors, and 100 that sound in a stream, one each two seconds."""
    kept = windows(210.0, [2.0 * i for i in range(1, 101)], [SHOT] * 100, seed=1)
    fired = Lesson(verifier.pooled(kept.vectors), np.arange(400) % 7)
    ear = Ear(model, [3.0], 3.0, p)
    onset = ear.samples(ear.again(kept.rises, kept.logits))
    rows = pd.DataFrame({"onset": onset, "blast": onset, "peak_snr_db": 40.0, "distance_m": 50.0, "clear": True})
    monkeypatch.setattr(lessons, "shots", lambda *_, **__: fired)
    monkeypatch.setattr(rehearsal, "play", lambda *_: [rehearsal.Scene(rows, kept)])
    return School(Path("features"), Path("streams"), np.random.default_rng(0))


def doors(n: int, every_s: float = 10.0) -> list[float]:
    return [20.0 + every_s * i for i in range(n)]


def calibrated(one: Heard, model: Model, school: School, **more) -> calibration.Calibration:
    return calibration.calibrate("yard", [one], model, p, limit=0.5, no_shots=True, school=school, **more)


def test_a_place_s_own_sounds_are_told_from_shots_in_hours_that_taught_nothing(model, school):
    one = heard(model, 600.0, doors(57), [DOOR] * 57)
    place = int(np.searchsorted(calibration.logits_of(model), 3.0))
    assert len(one.alerts[place]) == 57
    alone, done = (
        calibration.calibrate("yard", [one], model, p, limit=0.5, no_shots=True),
        calibrated(one, model, school),
    )
    assert alone.logit > 3.0 == done.logit and alone.learned is None
    assert done.learned.counts[:, place].sum() == 0 == done.held_out.false_incidents
    assert done.learned.windows == 228
    before, after = (done.learned.recall[name] for name in (rehearsal.BEFORE, rehearsal.AFTER))
    assert before["hits"] == 100 and after["hits"] >= 99  # one point at most


def test_where_shots_sound_like_the_place_the_threshold_alone_changes(model, school):
    """What is stricter than the weakest of LOSSES would cost more than a point."""
    done = calibrated(heard(model, 600.0, doors(57), [SHOT] * 57), model, school)
    assert done.learned is None and done.logit > 3.0
    shots = {"shots": 100, "hits": 80}
    assert [rehearsal.keeps({rehearsal.BEFORE: shots, rehearsal.AFTER: shots | {"hits": n}}) for n in (81, 79, 78)] == [
        True, True, False,
    ]  # fmt: skip


def partly_told(model: Model) -> tuple[Heard, list[Decision]]:
    """Sounds of which each fourth sounds like a shot, and the others were dismissed: those alone teach."""
    one = heard(model, 600.0, doors(20, 28.0), [DOOR, DOOR, DOOR, SHOT] * 5, began="2026-05-01T22:00:00")
    times = one.alerts[int(np.searchsorted(calibration.logits_of(model), 3.0))]
    assert len(times) == 20
    dismissed = [one.began + timedelta(seconds=float(t)) for i, t in enumerate(times) if i % 4 < 3]
    return one, [Decision(str(i), t, 0.1, DISMISSED, "door") for i, t in enumerate(dismissed)]


def test_with_a_verifier_the_threshold_goes_up_where_the_limit_is_proven_to_be_broken(model, school):
    """Five of 20 incidents remain in ten minutes, 30 an hour: at least 11.8. A limit of 12 is not proven to be."""
    one, dismissed = partly_told(model)
    stays, rises = (
        calibration.calibrate("yard", [one], model, p, limit=limit, no_shots=True, school=school, decided=dismissed)
        for limit in (12.0, 0.5)
    )
    assert stays.learned and stays.logit == 3.0 and stays.held_out.false_incidents == 5
    assert rises.learned and rises.logit > 3.0 and rises.held_out.false_incidents == 0


def test_with_a_verifier_too_a_limit_that_no_threshold_keeps_is_an_error(model, school, monkeypatch):
    """What remains has the highest logit that the network can give."""
    monkeypatch.setitem(globals(), "LOUD", 127)
    one, dismissed = partly_told(model)
    with pytest.raises(ValueError, match=r"yard: 30\.00 false incidents/h at the highest .* no threshold keeps"):
        calibrated(one, model, school, decided=dismissed)


def test_what_its_strength_was_chosen_on_proves_nothing(model, school):
    """Without an incident in ten minutes the bound is 18 an hour; a limit above it is proven by a threshold alone."""
    one = heard(model, 600.0, doors(57), [DOOR] * 57)
    done = calibration.calibrate("yard", [one], model, p, limit=20.0, no_shots=True, school=school)
    alone = calibration.calibrate("yard", [one], model, p, limit=20.0, no_shots=True)
    assert done.learned and done.held_out.upper < 20 and done.proof == "unproven"
    assert alone.held_out.upper < 20 and alone.proof == "proven"


def test_what_one_stretch_alone_raises_teaches_nothing(model, school):
    """Nothing could be measured that it was not taught by; so it is with a quiet place."""
    assert calibrated(heard(model, 600.0, doors(20, 4.0), [DOOR] * 20), model, school).learned is None
    assert calibrated(heard(model, 600.0, [], []), model, school).learned is None


def test_a_sound_that_comes_in_one_stretch_alone_is_counted_there_as_it_is(model, school):
    """The others taught nothing of it: what is stated is no figure of what was learned by heart."""
    about = [DOOR] * 47 + [SHOT] * 10  # the last ten sound in the last stretch
    done = calibrated(heard(model, 600.0, doors(57), about), model, school)
    place = int(np.searchsorted(calibration.logits_of(model), 3.0))
    assert done.learned.counts[:, place].tolist()[:4] == [0, 0, 0, 0] and done.learned.counts[4, place] > 5


def test_undecided_incidents_teach_nothing(model, school):
    """Three doors were dismissed; what sounds like shots was not, and stays undecided."""
    about = [DOOR, SHOT] * 10
    one = heard(model, 600.0, doors(20, 28.0), about, began="2026-05-01T22:00:00")
    place = int(np.searchsorted(calibration.logits_of(model), 3.0))
    times = [one.began + timedelta(seconds=float(t)) for t in one.alerts[place][[0, 2, 4, 6]]]
    decided = [Decision(str(i), t, 0.1, DISMISSED, "door") for i, t in enumerate(times)]
    done = calibrated(one, model, school, decided=decided)
    assert done.learned.windows == 16
    assert (
        done.learned.counts[:, place].sum() == 10
    )  # the doors are gone, all ten; what nobody decided counts as it did


def content(model: Model, school: School) -> dict:
    one = heard(model, 600.0, doors(57), [DOOR] * 57)
    done = calibrated(one, model, school)
    return calibration.content("yard", done, [one], model, p, decided_in=None, cost=None, rehearsed=None)


def test_a_profile_keeps_it_signed_and_refuses_one_for_another_trunk(model, school, tmp_path, monkeypatch):
    monkeypatch.setenv(keys.VARIABLE, str(tmp_path / "operator" / "key.pem"))
    keys.create("operator", tmp_path / record.KEYS)
    file, said = tmp_path / "yard.json", content(model, school)
    assert said["site_verifier"]["false_incidents_without"] == 57 and said["site_verifier"]["false_incidents"] == 0
    read = profile.read(profile_of(file, said), model, p)
    decides = profile.decides(read, model, p)
    assert decides.path == model.path and decides.one_pass is not model.one_pass
    assert len(bytes.fromhex(read.site_verifier.content)) == verifier.HEADER.size + 3 * WIDTH
    older = {key: value for key, value in said.items() if key != "site_verifier"}  # of before there were any
    assert profile.decides(profile.read(profile_of(file, older), model, p), model, p) is model
    strange = said | {"site_verifier": said["site_verifier"] | {"content": said["site_verifier"]["content"][:-2]}}
    with pytest.raises(ValueError, match=r"yard\.json: a site verifier of \d+ bytes is cut off or altered"):
        profile.read(profile_of(file, strange), model, p)
    monkeypatch.setattr(trunk, "of_model", lambda *_, **__: SimpleNamespace(positions=POSITIONS, width=WIDTH + 1))
    with pytest.raises(ValueError, match="vectors of 13 x 9 must be 13 x 8, as the site verifier's"):
        profile.read(profile_of(file, said), model, p)
    monkeypatch.setattr(trunk, "of_model", lambda *_, **__: None)
    with pytest.raises(ValueError, match="has no trunk whose vectors it reads; take the int8 network"):
        profile.read(file, model, p)


def profile_of(file: Path, said: dict) -> Path:
    profile.write(file, said, keys.private())
    return file


def test_bytes_are_read_as_they_were_packed_for_one_model():
    rng = np.random.default_rng(0)
    one = verifier.Verifier(rng.integers(-128, 128, (3, 31)).astype(np.int8), -12345, POSITIONS)
    strange = SimpleNamespace(on=84, off=42, even=0)
    packed = verifier.packed(one, strange, model=7)
    assert len(packed) == 125 <= verifier.MOST_BYTES
    again = verifier.unpacked(packed, model=7)
    assert np.array_equal(again.weights, one.weights) and (again.bias, again.positions) == (-12345, POSITIONS)
    with pytest.raises(ValueError, match="for the trunk of model 0000000000000007 must be for 0000000000000008"):
        verifier.unpacked(packed, model=8)
    wide = verifier.Verifier(np.zeros((3, 60), np.int8), 0, POSITIONS)
    with pytest.raises(ValueError, match="width=60, 212 bytes, must take 200 at most"):
        verifier.packed(wide, strange, model=7)


def test_what_teaches_is_named_where_it_is_missing(model, tmp_path, monkeypatch):
    rng, none = np.random.default_rng(0), np.zeros((0, 32, 71), np.int8)
    with pytest.raises(ValueError, match=r"train\.csv: no such file; make it with `dvc repro featurize`"):
        lessons.shots(tmp_path, model, none, rng, hop=8)
    table = pd.DataFrame([dict.fromkeys(tables.CHUNK, "x") | {"index": 0, "start": 0, "onset": 0, "class": "gun"}])
    tables.write(tmp_path / "train.csv", tables.frame(table.to_dict("records"), tables.CHUNK))
    np.save(tmp_path / "train.npy", np.zeros((1, 32, 33), np.float32))
    with pytest.raises(ValueError, match=r"log-mels of \(32, 33\) must be of \(32, 71\), as .*m\.tflite hears"):
        lessons.shots(tmp_path, model, none, rng, hop=8)
    np.save(tmp_path / "train.npy", np.zeros((1, 32, 71), np.float32))
    deaf = dataclasses.replace(model, logit=lambda x: np.full(len(x), -3.0))
    with pytest.raises(ValueError, match="hears none of 1 shots of"):
        lessons.shots(tmp_path, deaf, none, rng, hop=8)


def test_a_model_with_it_counts_the_place_s_own_windows_as_no_shot():
    """Along a recording as in single windows; of what is below ASKED nobody is asked."""
    vectors = np.array([[[100]], [[-100]], [[-100]], [[100]]], np.int8)
    asked = SimpleNamespace(positions=1, width=1, vectors=lambda codes: vectors[codes[:, 0, 0] % 4])
    model = Model(Path("m.tflite"), REPORT, lambda x: x[:, 0, 1], (1, 2), one_pass=lambda x: x[0, 1:], stride=1,
                  step=0.5, code_db=1.0, code_zero=0)  # fmt: skip
    one = verifier.verified(model, verifier.Verifier(np.array([[1], [0], [0]], np.int8), 0, 1), asked)
    log_mel = np.array([[0.0, 1.0, 2.0, 3.0]])
    assert model.window_logits(log_mel, hop=1).tolist() == [2, 4, 6]
    assert one.window_logits(log_mel, hop=1).tolist() == [2, verifier.OWN, verifier.OWN]
    single = np.stack([log_mel[:, i : i + 2] for i in range(3)])
    assert one.logit(single).tolist() == [1.0, -0.5, -0.5]
    assert (one.window_logits(-log_mel, hop=1) == model.window_logits(-log_mel, hop=1)).all()
    assert listener.before(dataclasses.replace(one, window=(1, 33)), p) == 0
