"""The cascade on recordings: which threshold finds 90 % of the files, what is left there, and what cannot be heard."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from gunshot.base import params, tables
from gunshot.models.model import Model, load_model
from gunshot.studies import cascade, opinions
from tests.cli.test_commands import forest, project, run  # noqa: F401 - fixtures
from tests.cli.test_operating_point import bangs

P = params.load("audio", "chunks", "context", "features", "detector", "verifier", "quality")
FILES = pd.DataFrame(
    [(f"g{i}", True, 2.0) for i in range(10)]
    + [("street", False, 1800.0), ("hall", False, 20.0), ("door", False, 4.0)],
    columns=["file", "gun", "duration_s"],
)
FAKE = Path("verifier.tflite")


def rows(*incidents: tuple[str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(incidents, columns=["file", "logit", "opinion"])


def test_the_lower_threshold_is_the_highest_that_finds_nine_of_ten_files():
    raised = [(f"g{i}", logit, 0.0) for i in range(10) for logit in (-2.0, -1.0, 0.0) if i < 9 - (logit == 0.0)]
    raised += [("street", 0.0, 0.0)] * 5
    assert cascade.recalling(FILES, rows(*raised)) == -1.0
    assert cascade.recalling(FILES, rows(*raised[:9])) is None


def test_figures_of_files_and_of_both_kinds_of_hours():
    shots = [(f"g{i}", 0.0, float(i)) for i in range(8)] + [("g7", 0.0, -9.0)]
    false = [("street", 0.0, -1.0)] * 11 + [("street", 0.0, 5.0), ("hall", 0.0, 5.0), ("door", 0.0, -1.0)]
    measured = rows(*shots, *false)
    row = cascade.figures(FILES, measured, opinion=2.0)
    assert (row["found"], row["recall"], row["upheld"], row["cascade_recall"]) == (8, 0.8, 6, 0.6)
    assert row["recall_lost"] == pytest.approx(0.2)
    places, hard = row["places"], row["hard"]
    assert (places["detector"], places["cascade"], places["divided_by"], places["enough"]) == (13, 2, 6.5, True)
    assert places["detector_per_hour"] == pytest.approx(13 / (1820 / 3600))
    assert (hard["detector"], hard["cascade"], hard["divided_by"], hard["enough"]) == (1, 0, None, False)
    assert hard["hours"] == pytest.approx(4 / 3600)


def test_a_recording_is_heard_as_detect_hears_it_and_each_incident_has_an_opinion(forest, project, monkeypatch):  # noqa: F811
    sf.write("two.wav", bangs(np.random.default_rng(1), 16000, 48000), 16000)
    Path("bad.wav").write_bytes(b"RIFF")
    models = {Path("forest.joblib"): load_model(Path("forest.joblib")),
              FAKE: Model(FAKE, {}, lambda x: x.mean(axis=(1, 2)), window=(32, P.verifier.frames))}  # fmt: skip
    for room in (cascade, opinions):
        monkeypatch.setattr(room, "load_once", models.get)
    source = {"class": "env", "label": "bang", "recording_group": "g", "file": Path("two.wav")}
    row, incidents, refused = cascade.hear(source, Path("forest.joblib"), FAKE, [0.0, 99.0], P)
    assert (row["gun"], row["duration_s"], refused) == (False, 4.0, [])
    assert [(each["logit"], each["incident"]) for each in incidents] == [(0.0, 1), (0.0, 2)]
    assert all(-100 < each["opinion"] < 0 for each in incidents)
    row, incidents, (refusal,) = cascade.hear(source | {"file": Path("bad.wav")}, Path("forest.joblib"), FAKE, [0.0], P)
    assert (row, incidents, refusal["file"]) == (None, [], "bad.wav")


@pytest.mark.slow
def test_recordings_without_a_shot_are_refused(forest, project, monkeypatch):  # noqa: F811
    Path("in/env").mkdir(parents=True)
    Path("quiet.wav").rename("in/env/quiet.wav")
    fake = Model(FAKE, {}, lambda x: x.mean(axis=(1, 2)), window=(32, P.verifier.frames))
    real = cascade.load_once
    for room in (cascade, opinions):
        monkeypatch.setattr(room, "load_once", lambda path: fake if path == FAKE else real(path))
    with pytest.raises(ValueError, match="in: no recording with shots; recall needs at least one"):
        cascade.on_recordings([Path("in")], Path("forest.joblib"), FAKE, [0.0], P)


def test_the_command_says_what_was_measured_and_writes_it(project, monkeypatch):  # noqa: F811
    alone = {"false_incidents": 12, "recall": 0.9}
    streams = {"hours": 0.3, "shots": 100, "detector": alone, "cascade": alone | {"recall": 0.8}}
    streams["false"] = opinions.compared(0, 0)
    part = {"hours": 2.0, **opinions.compared(40, 4)}
    real = {"recall": 0.9, "cascade_recall": 0.88, "files_with_shots": 50, "places": part, "hard": part}
    content = {"recall_90": {"detector_score": 0.25, "recordings": real, "simulated": streams}}
    monkeypatch.setattr(cascade, "measure", lambda *args: content)
    Path("in").mkdir()
    done = run("cascade", "in")
    assert done.exit_code == 0, done.output
    assert "recall 90, score 0.250: files with shots 90.0% -> 88.0% of 50" in done.stdout
    assert "false incidents, places: 40 -> 4 in 2.00 h (divided by 10.0, enough to say so)" in done.stdout
    assert "false incidents, streams: 0 -> 0 in 0.30 h (too few to say anything)" in done.stdout
    assert tables.read_json(Path("reports/cascade.json")) == tables.json.loads(tables.json.dumps(content))
