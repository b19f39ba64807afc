"""What a wake-up saves and loses: by hand, on sounds that begin at their shot, and what the report says of itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.stats import beta
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import params, tables
from gunshot.detect import listener
from gunshot.device import energy, parity
from gunshot.models.model import load_model
from gunshot.studies import wake
from tests.firmware import driven

ROOT = Path(__file__).parents[2]
P = params.load("audio", "chunks", "context", "features", "detector", "quality", path=ROOT / "params.yaml")
SPENT = {"never_sleeps": 20_000_000, "always": 1_000_000, "frame": 40_000, "window": 600_000}


@pytest.fixture(scope="module")
def model():
    return load_model(ROOT / "models/quantized/model.tflite")


def heard(pcm: np.ndarray, model, *, cut: bool):
    s = listener.settings(model, P, logit=model.threshold())
    return wake.asleep(pcm, model, s, P, db=10, cut=cut)


@pytest.mark.slow
def test_without_sleep_the_shots_are_those_of_detect(model):
    pcm = parity.recording(sr=P.audio.sr)
    counts, awake, asleep = heard(pcm, model, cut=False)
    ear = listener.Listener(model, [model.threshold()], P)
    (shots,), logits = ear.push(pcm)
    assert len(awake) and awake.tolist() == shots.tolist() and counts["windows"] == len(logits)
    assert {*asleep[:, 0]} <= {*awake[:, 0]} and 0 < counts["scored"] < counts["windows"]


@pytest.mark.slow
def test_a_file_that_begins_at_its_shot_is_heard_after_its_own_quiet(model):
    """As `gunshot incidents` hears it; the bang rises above a quiet that the file has only behind it."""
    pcm = driven.shots([0.0], 2.0)
    assert heard(pcm, model, cut=False)[0]["scored"] < heard(pcm, model, cut=True)[0]["scored"]
    steady = driven.shots([], 2.0)
    assert heard(steady, model, cut=True)[0]["scored"] == 0


def rows(**changed) -> pd.DataFrame:
    one = {"duration_s": 60.0, "windows": 1000, "scored": 100, "frames": 8000, "computed": 1500, "heard": 180}
    return pd.DataFrame([one | {name: value[i] for name, value in changed.items()} for i in range(2)])


def test_what_is_saved_by_hand():
    row = wake.saved(rows(scored=[100, 200]), SPENT, where="here")
    assert row["minutes"] == 2.0 and row["skipped"] == pytest.approx(0.85)
    assert row["computed"] == pytest.approx(3000 / 16000)
    assert row["instructions"] == round(1e6 + (40_000 * 3000 + 600_000 * 360) / 120)
    assert row["all_ma"]["most"] == pytest.approx(2.05 + 3.8e6 * 2 / 64e6 * 3.328, abs=0.006)


def test_places_sounds_cut_close_and_shots_are_never_mixed():
    streams = rows(place=["hall", "yard"], kind=["quiet", "shots"], shots=[0, 9], awake=[0, 5], asleep=[0, 4])
    none = [False, False]
    env = rows(y=[0, 0], place=["rain", "door"], duration_s=[30.0, 2.0], awake=[True, False], asleep=none)
    gun = rows(y=[1, 1], place=["ak", "ak"], awake=[True, False], asleep=[True, True])
    files = pd.concat([env, gun])
    out = wake.summed(streams, files, SPENT)
    assert [row["where"] for row in out["simulated"]] == ["simulated", "hall"]
    assert [row["where"] for row in out["places"]] == ["places", "rain"]
    assert [(row["where"], row["minutes"]) for row in out["hard"]] == [("hard", 0.0)]
    upper = beta.ppf(0.95, 2, 4)  # Clopper and Pearson: one of five
    assert out["lost"]["simulated"] == {"awake": 5, "asleep": 4, "share_upper": pytest.approx(upper), "shots": 9}
    assert {name: out["lost"]["files"][name] for name in ("awake", "asleep", "files")} == {
        "awake": 1, "asleep": 1, "files": 2}  # fmt: skip
    assert wake.summed(streams, pd.DataFrame(), SPENT)["places"] == []


def test_shots_that_sleep_finds_make_none_good_that_it_loses(tmp_path, monkeypatch, model):
    """Awake the first two of three shots, asleep the last two; and three asleep where awake there are two."""
    pcm, s = driven.shots([0.5, 1.5, 2.5], 4.0), listener.settings(model, P, logit=-1e9)
    sf.write(tmp_path / "a.wav", pcm, P.audio.sr)
    counts, shots, _ = wake.asleep(pcm, model, s, P, db=10, cut=False)
    chosen = shots[:3]
    onset = listener.Listener(model, [-1e9], P).samples(chosen)
    assert len(onset) == 3
    blank = {name: "" if kind is str else kind(0) for name, kind in tables.STREAM_SHOT.items()}
    tables.write(
        tmp_path / "shots.csv", pd.DataFrame([blank | {"path": "a.wav", "onset": t, "blast": t} for t in onset])
    )
    row = {"path": "a.wav", "place": "hall", "kind": "shots"}
    for slept, both in ((chosen[1:], 1), (chosen, 2)):
        monkeypatch.setattr(wake, "asleep", lambda *_, slept=slept, **__: (counts, chosen[:2], slept))
        out = wake.of_stream(row, tmp_path, ROOT / "models/quantized/model.tflite", 0.0, 10, P)
        assert (out["shots"], out["awake"], out["asleep"]) == (3, 2, both)


def test_a_recording_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    row, rejected = wake.of_file({"file": str(tmp_path / "a.wav")}, ROOT / "models/quantized/model.tflite", 0.0, 10, P)
    assert row is None and rejected[0]["file"].endswith("a.wav")


def test_the_report_s_currents_are_those_of_its_instructions():
    report = tables.read_json(ROOT / "reports/wake.json")
    listed = [row for name in ("simulated", "places", "hard") for row in report[name]]
    assert len(listed) > 10 and report["board"] == energy.BOARD
    for row in listed:
        drawn = energy.reckon(row["instructions"], window_s=1.0)
        assert row["all_ma"] == {name: drawn[name]["all_ma"] for name in ("least", "most")}


@pytest.mark.firmware
@pytest.mark.exhaustive
def test_the_command_gives_the_report_s_simulated_figures(tmp_path, monkeypatch):
    """With the same network; counts of instructions are QEMU's, and repeat."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "gun").mkdir()
    sf.write(tmp_path / "gun/a.wav", driven.shots([1.0], 3.0), P.audio.sr)
    done = CliRunner().invoke(cli.app, ["firmware", "wake", str(tmp_path), "--out", str(tmp_path / "wake.json")])
    assert done.exit_code == 0, done.output
    report, again = tables.read_json(ROOT / "reports/wake.json"), tables.read_json(tmp_path / "wake.json")
    assert again["model_sha256"] == report["model_sha256"] and again["lost"]["files"]["files"] == 1
    assert again["simulated"] == report["simulated"] and again["instructions"] == report["instructions"]
