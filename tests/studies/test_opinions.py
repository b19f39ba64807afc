"""The cascade: its threshold's price in shots, and what it leaves of incidents, by counts that can be done by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, chi2

from gunshot.alarms import score
from gunshot.base import audio, params, tables
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.studies import opinions

P = params.load("audio", "chunks", "context", "features", "detector", "verifier")
REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}


def incident(opinion: float, hits: int = 0, false: bool = False, kind: str = "shots") -> dict:
    return {"path": "a", "kind": kind, "logit": 0.0, "opinion": opinion, "hits": hits, "false": false}


@pytest.mark.parametrize(("max_lost", "expected"), [(0.0, -2.0), (0.1, -1.0), (0.29, -1.0), (0.31, 4.0), (1.0, 5.0)])
def test_the_threshold_is_the_highest_whose_price_is_paid(max_lost, expected):
    rows = [incident(4.0, 4), incident(-1.0, 2), incident(5.0, 3), incident(-2.0, 1), incident(9.0, 0), incident(-9.0)]
    assert opinions.threshold(pd.DataFrame(rows), max_lost=max_lost) == expected


def test_without_a_shot_that_is_found_there_is_no_threshold():
    with pytest.raises(ValueError, match="clear shots found=0 on validation streams"):
        opinions.threshold(pd.DataFrame([incident(1.0)]), max_lost=0.1)


def test_figures_count_false_incidents_where_there_are_no_shots_and_clear_shots_elsewhere():
    rows = [incident(3.0, 5), incident(-1.0, 2), incident(1.0, false=True), incident(1.0, false=True, kind="quiet")]
    rows += [incident(value, false=True, kind="quiet") for value in [-3.0] * 11]
    measured = opinions.figures(pd.DataFrame(rows), {"hours": 0.5, "shots": 20}, opinion=0.0)
    alone, both = measured["detector"], measured["cascade"]
    assert (alone["false_incidents"], both["false_incidents"], alone["hits"], both["hits"]) == (12, 1, 7, 5)
    assert (alone["recall"], both["recall"], measured["recall_lost"]) == (0.35, 0.25, 0.1)
    assert both["recall_interval"] == pytest.approx([beta.ppf(0.025, 5, 16), beta.ppf(0.975, 6, 15)])
    rate = alone["false_incidents_per_hour_interval"]
    assert rate == pytest.approx([chi2.ppf(0.025, 24), chi2.ppf(0.975, 26)])  # over 2, in half an hour
    assert measured["false"]["divided_by"] == 12 and measured["false"]["enough"]


def test_without_hours_or_shots_there_are_no_rates():
    measured = opinions.figures(pd.DataFrame([incident(1.0)]), {"hours": 0.0, "shots": 0}, opinion=0.0)
    assert measured["detector"] == {
        "false_incidents": 0, "false_incidents_per_hour": None, "false_incidents_per_hour_interval": None, "hits": 0,
        "recall": None, "recall_interval": None,
    }  # fmt: skip
    assert measured["recall_lost"] is None


def test_few_incidents_say_nothing_and_of_none_nothing_is_divided():
    assert not opinions.compared(9, 1)["enough"]
    assert opinions.compared(10, 0) | {"kept_interval": None} == {
        "detector": 10, "cascade": 0, "divided_by": None, "kept_interval": None, "enough": True
    }  # fmt: skip
    assert opinions.compared(0, 0) == {
        "detector": 0, "cascade": 0, "divided_by": None, "kept_interval": None, "enough": False
    }  # fmt: skip


def test_in_a_stream_incidents_are_right_or_false_and_have_an_opinion_each(tmp_path, monkeypatch):
    """A detector that takes what is loud for a shot, and a verifier that asks for a second bang soon after."""
    rng, sr = np.random.default_rng(0), 16000
    y = 1e-4 * rng.standard_normal(12 * sr)
    for at in (2.0, 6.0, 6.8, 10.0):
        y[int(at * sr) : int(at * sr) + 1600] += 0.5 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 400)
    audio.write_pcm(tmp_path / "s.wav", audio.to_int16(y), sr=sr)
    shot = dict.fromkeys(tables.STREAM_SHOT, "") | {"path": "s.wav", "onset": 2 * sr, "blast": 2 * sr, "heard": True}
    shot |= {name: 0 for name, kind in tables.STREAM_SHOT.items() if kind in (int, float) and name not in shot}
    shot |= {"peak_snr_db": 30.0, "distance_m": 20.0, "shock": -1, "firing": 0, "angle_deg": 0.0, "peak_db_spl": 120.0}
    shots = [shot, shot | {"onset": int(6.8 * sr), "blast": int(6.8 * sr), "peak_snr_db": 3.0}]
    tables.write(tmp_path / "shots.csv", tables.frame(shots, tables.STREAM_SHOT))
    loud = Model(Path("loud"), REPORT, lambda x: x.max(axis=(1, 2)) / 10 + 4, window=(32, P.context.frames))
    again = Model(Path("again"), REPORT, lambda x: x.mean(axis=(1, 2)), window=(32, P.verifier.frames))
    monkeypatch.setattr(opinions, "load_once", {Path("loud"): loud, Path("again"): again}.get)
    row = {"path": "s.wav", "kind": "shots"}
    rows = opinions.of_stream(row, tmp_path, Path("loud"), Path("again"), [2.0, 19.0], P)
    ear = listener.Listener(loud, [2.0], P)
    onsets, _ = ear.push(audio.to_int16(y))
    assert [row["logit"] for row in rows] == [2.0] * len(np.unique(onsets[0][:, 3]))  # at 19 there is none
    assert [row["hits"] for row in rows] == [1, 0, 0]  # the faint shot is none that must be found
    assert [row["false"] for row in rows] == [False, False, True]
    assert np.argmax([row["opinion"] for row in rows]) == 1  # where two bangs are heard at once
    assert score.opening(onsets[0][:, 3], np.ones(len(onsets[0]), bool)).sum() == 3
