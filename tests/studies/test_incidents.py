"""Hours of places and of sounds cut close are never mixed; shares of kinds are counted by recordings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.stats import beta

from gunshot.base import params, processes, tables
from gunshot.models.scores import metrics
from gunshot.studies import incidents, recordings
from tests.cli.test_commands import forest, project, run  # noqa: F401 - fixtures
from tests.cli.test_operating_point import bangs

FILES = pd.DataFrame(
    [
        (1, "ak", "a", 2.0, 1), (1, "ak", "b", 2.0, 0), (1, "m16", "c", 30.0, 3), (1, "m16", "d", 2.0, 1),
        (0, "street", "e", 3600.0, 2), (0, "street", "f", 1800.0, 1), (0, "hall", "g", 20.0, 0),
        *[(0, "door", f"h{i // 2}", 4.0, n) for i, n in enumerate([3, 0, 0, 1, 0, 0, 0, 0, 0, 0])],
        (0, "rain", "i", 19.9, 0),
    ],
    columns=["y", "label", "recording_group", "duration_s", "int8_incidents"],
)  # fmt: skip


def test_hours_of_places_and_of_sounds_cut_close_are_apart():
    figures = incidents.of_model(FILES, "int8")
    places, hard = figures["places"], figures["hard"]
    assert places["hours"] == pytest.approx(5420 / 3600) and hard["hours"] == pytest.approx(59.9 / 3600)
    assert (places["false_incidents"], hard["false_incidents"]) == (3, 4)
    for row in (places, hard):
        assert row["false_incidents_per_hour"] == pytest.approx(row["false_incidents"] / row["hours"])
        upper = metrics.rate_upper(row["false_incidents"], row["hours"])
        assert row["false_incidents_per_hour_upper"] == pytest.approx(upper)
        assert (row["files_with_shots"], row["recall"]) == (4, 0.75)
    assert (places["groups"], hard["groups"]) == (3, 6)


def test_a_kind_s_share_counts_each_recording_once_with_its_bounds():
    door, rain = incidents.of_model(FILES, "int8")["hard"]["kinds"]
    assert (door["label"], door["groups"], door["recordings"], door["with_incident"]) == ("door", 5, 10, 2)
    assert door["share"] == 0.2
    assert door["share_lower"] == pytest.approx(beta.ppf(0.05, 2, 9))  # Clopper and Pearson
    assert door["share_upper"] == pytest.approx(beta.ppf(0.95, 3, 8))
    assert (rain["share"], rain["share_lower"]) == (0.0, 0.0)
    assert rain["share_upper"] == pytest.approx(0.95)  # one recording says little


def test_of_no_hour_there_is_no_rate():
    figures = incidents.of_model(FILES[FILES["label"] != "rain"].iloc[:7], "int8")
    assert figures["hard"]["hours"] == 0 and figures["hard"]["false_incidents_per_hour"] is None
    assert figures["hard"]["kinds"] == []


def test_a_recording_has_the_incidents_that_detect_tells(forest, project):  # noqa: F811
    """Two bangs far apart are two incidents, silence is none; what is no sound is refused."""
    y = bangs(np.random.default_rng(1), 16000, 48000)
    sf.write("two.wav", y, 16000)
    Path("bad.wav").write_bytes(b"RIFF")
    p = params.load("audio", "chunks", "context", "features", "detector", "quality")
    source = {"class": "env", "label": "bang", "recording_group": "g", "file": Path("two.wav")}
    row, refused = incidents.hear(source, {"forest": Path("forest.joblib")}, {"forest": 0.0}, p)
    printed = run("detect", "two.wav", "--model", "forest.joblib", "--threshold", "0.5", "--format", "json").stdout
    assert len(printed.splitlines()) == 2
    assert row == {"y": 0, "label": "bang", "recording_group": "g", "duration_s": 4.0, "forest_incidents": 2}
    assert refused == []
    row, (refusal,) = incidents.hear(
        source | {"file": Path("bad.wav")}, {"forest": Path("forest.joblib")}, {"forest": 0.0}, p
    )
    assert row is None and refusal["file"] == "bad.wav"


def test_the_command_writes_every_model_at_its_operating_point(project, monkeypatch):  # noqa: F811
    Path("in").mkdir()
    names = {"int8": 1.5, "float": 2.5, "forest": 3.5}
    paths = {"int8": "models/quantized", "float": "models/network", "forest": "models/forest"}
    for name, logit in names.items():
        tables.write_json(Path(paths[name], "operating.json"), {"logit": logit})
    row = dict.fromkeys(incidents.ON_STREAMS, 0.25)
    tables.write_json(Path("reports/streams.json"), {"simulated": {name: row | {"more": 1} for name in names}})
    listed = [{"number": number} for number in range(len(FILES))]
    monkeypatch.setattr(recordings, "sources", lambda folders: (listed, []))

    def hear(source, models, points, p):
        assert set(models) == set(names) and points == names
        counts = {f"{name}_incidents": FILES["int8_incidents"] * (name != "float") for name in names}
        return FILES.assign(**counts).iloc[source["number"]].to_dict(), []

    monkeypatch.setattr(incidents, "hear", hear)
    monkeypatch.setattr(processes, "in_order", lambda f, items, *shared, **_: (f(i, *shared) for i in items))
    done = run("incidents", "in")
    assert done.exit_code == 0, done.output
    content = tables.read_json(Path("reports/incidents.json"))
    assert content["simulated"] == row and content["models"]["int8"]["places"] == content["places"]
    assert content["models"]["float"]["hard"]["false_incidents"] == 0
    assert content["places"]["false_incidents"] == 3 and content["place_s"] == 20.0
    assert "door" in done.stdout and "int8   places    1.99 false incidents/h" in done.stdout
    assert np.all([len(line) <= 120 for line in done.stdout.splitlines()])
