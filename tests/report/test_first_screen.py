"""The first screen: a verdict in one sentence, bounds, the curve, what fools the detector, and what is unproven."""

import re

import numpy as np
import pandas as pd
import pytest

from gunshot.alarms import summary
from gunshot.base import audio, tables
from gunshot.models.model import Model
from gunshot.report import first_screen, media, overview
from gunshot.report.chunks import chunk_figures
from tests.report import test_stream_report as streams
from tests.report.test_page import Page

SR = 16000
PROVEN = {"logit": 2.0, "score": 0.98, "proof": "proven", "false_incidents_per_hour_limit": 0.5}
UNPROVEN = PROVEN | {"proof": "unproven"}
ROW = streams.ROW | {"shots_of_any_level": 1500, "recall_of_any_level": 0.6}
KEPT = ROW | {"hours": 30.0, "false_incidents_per_hour": 0.1, "false_incidents_per_hour_upper": 0.26}
SHORT = ROW | {"hours": 0.3, "false_incidents_per_hour": 0.0, "false_incidents_per_hour_upper": 9.99}
MISSED = KEPT | {"recall": 0.0, "recall_lower": 0.0}
NO_SHOT = KEPT | {"recall": None, "recall_lower": None, "shots": 0}
FINDS = "The detector finds 75.0 % of clear gunshots; it"
COST = {"flash": 20_120, "arena": 8_700}


@pytest.mark.parametrize(
    "row, point, origin, sentence",
    [
        (KEPT, PROVEN, "real", f"{FINDS} raised 0.10 false incidents an hour in 30.0 hours of real recordings, which "
         "proves that it keeps its limit of 0.5 an hour."),
        (SHORT, PROVEN, "simulated", f"{FINDS} raised no false incident in 18 minutes of simulated audio, too little "
         "to prove that it keeps its limit of 0.5 an hour."),
        (KEPT, UNPROVEN, "real", f"{FINDS} raised 0.10 false incidents an hour in 30.0 hours of real recordings, but "
         "its limit of 0.5 an hour was not proven where its threshold was chosen."),
        (ROW, PROVEN, "simulated", f"{FINDS} raised 1.50 false incidents an hour in 2.0 hours of simulated audio, more "
         "than its limit of 0.5 an hour."),
        (MISSED, PROVEN, "simulated", "The detector finds none of the 1,200 clear gunshots; it raised 0.10 false "
         "incidents an hour in 30.0 hours of simulated audio, which proves that it keeps its limit of 0.5 an hour."),
        (NO_SHOT, PROVEN, "simulated", "Whether the detector finds gunshots is not known: the test streams hold no "
         "clear one. It raised 0.10 false incidents an hour in 30.0 hours of simulated audio, which proves that it "
         "keeps its limit of 0.5 an hour."),
        (streams.NOTHING, UNPROVEN, "simulated", "Nothing is known yet: the test streams hold no audio without shots."),
    ],
)  # fmt: skip
def test_the_verdict_says_what_is_found_how_often_it_is_false_and_whether_that_is_proven(row, point, origin, sentence):
    assert first_screen.verdict(row, point, origin=origin, limit=0.5) == sentence


@pytest.mark.parametrize("row, point, state", [(KEPT, PROVEN, "proven"), (KEPT, UNPROVEN, "not proven"),
                                               (SHORT, PROVEN, "not proven"), (ROW, PROVEN, "exceeded")])  # fmt: skip
def test_a_limit_is_proven_by_test_and_validation_streams_together(row, point, state):
    assert first_screen.limit_state(row, point, 0.5) == state
    recall, firings, false, *_ = first_screen.tiles(row, point, COST, limit=0.5)
    assert (recall["value"], recall["note"]) == ("75.0 %", "900 of 1,200; at least 61.3 %")
    assert (firings["value"], firings["note"]) == ("90.0 %", "of 400; at least 85.0 %")
    assert false["note"].endswith(f"limit 0.5: {state}") and false["state"] == state.replace(" ", "-")
    assert f"at most {row['false_incidents_per_hour_upper']:.2f};" in false["note"]


def test_figures_that_nothing_is_known_of_are_dashes():
    values = [tile["value"] for tile in first_screen.tiles(streams.NOTHING, UNPROVEN, COST, limit=0.5)]
    assert values == ["–", "–", "–", "–", "20.1 kB"]


def figures(simulated: dict, real: dict = streams.NOTHING) -> dict:
    return streams.figures(real, simulated) | {"int8_against_float": {}}


def causes(upper: float) -> pd.DataFrame:
    table = streams.folder(causes=7)["causes"]
    return table.assign(false_incidents_per_event_upper=[upper if i % 7 else 0.5 for i in range(len(table))])


def test_what_is_unproven_has_the_bound_the_places_and_the_kinds_that_were_heard_too_seldom():
    items = first_screen.unproven(figures(SHORT), causes(2.9), UNPROVEN, model="int8")
    assert "18 minutes of simulated audio leave up to 9.99 possible" in items[0] and "6 hours without one" in items[0]
    assert "unproven there" in items[1] and "no real recordings" in items[2]
    assert "6 of 7 were heard so seldom" in items[3] and "bang 5 and 1 more" in items[3]
    assert "60.0 % of 1,500 in simulated audio" in items[4] and len(items) == 5


def test_what_was_proven_is_not_listed():
    items = first_screen.unproven(figures(KEPT, real=KEPT), causes(0.2), PROVEN, model="int8")
    assert [item.split(":")[0] for item in items] == [
        "Shots farther away than 200 m, or less than 10 dB above all else"
    ] * 2
    (item,) = first_screen.unproven(figures(streams.NOTHING), causes(0.2), PROVEN, model="int8")
    assert "no real recordings" in item


def closest(logits: list[float], **values) -> pd.DataFrame:
    rows = [
        {"path": "q.wav", "origin": "simulated", "kind": "quiet", "model": "int8", "logit": logit, "onset_s": 1.0 + i,
         "score": 0.9 - i / 100, "incident": 1, "place": "school_hall", "label": f"door_{i}", "cause": "event"} | values
        for i, logit in enumerate(logits)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(summary.CLOSEST))


@pytest.fixture
def folder(tmp_path):
    """A quiet stream of ten seconds with a click at each whole second, the first of them loud."""
    pcm = np.zeros(10 * SR, np.int16)
    pcm[SR::SR] = 100
    pcm[SR] = 30_000
    audio.write_pcm(tmp_path / "q.wav", pcm, sr=SR)
    return tmp_path


def test_what_fools_it_most_comes_first_and_is_heard(folder):
    cards = first_screen.fools(closest([0.5, 2.0, 1.0, 3.0, -1.0]), PROVEN, folder)
    assert [card["title"] for card in cards] == ["door 3", "door 1", "door 2", "door 0"]
    assert [card["woke"] for card in cards] == [True, True, False, False]
    assert [card["says"] for card in cards][1:3] == ["false incident", "no incident: score 0.88, it takes 0.98"]
    assert all(card["sound"].startswith("data:audio/flac;base64,") and card["waveform"] for card in cards)
    assert cards[0]["place"] == "school hall" and cards[0]["where"] == "q.wav, 4.0 s"


def test_an_excerpt_is_short_and_as_loud_as_the_others(folder):
    for onset_s in (1.0, 4.0):
        pcm, sr = media.excerpt(folder / "q.wav", onset_s=onset_s)
        assert sr == SR and len(pcm) == 1.5 * SR and pcm.max() == media.PEAK and pcm.argmax() == SR // 2
    assert len(media.excerpt(folder / "q.wav", onset_s=0.2)[0]) == 1.2 * SR
    silent, _ = media.excerpt(folder / "q.wav", onset_s=9.9)
    assert len(silent) == 0.6 * SR


def test_a_real_recording_is_named_and_not_heard(folder):
    (card,) = first_screen.fools(closest([3.0], origin="real", label="", place="", cause=""), PROVEN, folder)
    assert (card["title"], card["sound"], card["place"], card["woke"]) == ("nothing laid there", "", "", True)
    (card,) = first_screen.fools(closest([3.0], label="wind+rain", cause="bed"), PROVEN, folder)
    assert card["title"] == "background: wind, rain" and card["sound"]
    assert first_screen.fools(closest([]), PROVEN, folder) == []


def page_of(folder, row: dict, point: dict, real: dict = streams.NOTHING, near: pd.DataFrame | None = None) -> str:
    """Return the page reports/index.html of models that are operated at `point`."""
    report = {"bytes": 20_120, "arena_bytes": 8_700, "operators": ["CONV_2D"], "flip_rate": 0.0,
              "flip_rate_at_threshold": 0.0}  # fmt: skip
    predictions = streams.chunks().assign(float=lambda t: t["float"] ** 2, int8=lambda t: t["int8"] ** 3)
    on_chunks = chunk_figures(predictions, dict.fromkeys(streams.MODELS, 0.5))
    report |= {name: on_chunks["metrics"]["int8"] for name in ("float", "int8")}
    models = {}
    for name in streams.MODELS:
        models[name] = Model(folder / name / "model", report, np.mean, window=(32, 71))
        models[name].path.parent.mkdir(exist_ok=True)
        tables.write_json(models[name].path.with_name("operating.json"), point)
    origins = [origin for origin, one in (("simulated", row), ("real", real)) if one["hours"]]
    tables_ = streams.folder(tuple(origins)) if origins else streams.empty(streams.folder())
    if not origins:
        tables_["det"]["hours"] = 0.0
    history = pd.DataFrame({"epoch": [1], "loss": [0.6], "val_loss": [0.7], "learning_rate": [0.1]})
    tables.write(folder / "float" / "history.csv", history)
    np.save(folder / "forest" / "importances.npy", np.full((32, 33), 1 / 1056))
    overview.write(
        folder / "index.html", models, on_chunks, sounds=folder, on_streams=figures(row, real),
        stream_tables=tables_ | {"closest": closest([3.0, 1.0]) if near is None else near},
        validations=[],
        tagging={"simulated": {"shots": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0, "control": {"f1": 0.1},
                               "all": {"shots": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0, "control": {"f1": 0.1}}},
                 "real": None},
    )  # fmt: skip
    return (folder / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("row, point, real, says", [
    (KEPT, PROVEN, KEPT, "which proves"), (SHORT, UNPROVEN, streams.NOTHING, "too little to prove"),
    (MISSED, PROVEN, streams.NOTHING, "finds none"),
    (streams.NOTHING, UNPROVEN, streams.NOTHING, "Nothing is known yet"),
], ids=["proven", "unproven", "none found", "no hours"])  # fmt: skip
def test_the_first_screen_comes_before_all_that_is_folded(folder, row, point, real, says):
    text = page_of(folder, row, point, real)
    page, (first, _, folded) = Page(text), text.partition("<details")
    assert says in re.search(r'id="verdict">([^<]*)<', first).group(1)
    for value in ("recall", "recall_lower"):
        shown = "–" if row[value] is None else f"{100 * row[value]:.1f} %"
        assert shown in re.search(r"<dl.*?</dl>", first, re.DOTALL).group(0)
    assert first.count("<svg role=") == (1 if row["hours"] else 0) and first.count("<audio") == 2
    assert "no person was recorded" in first and first.count("<li>") >= 1 and "<table" not in first
    assert page.titles[:3] == ["Recall against false incidents", "What fools it most", "What is unproven"]
    assert page.titles[3] == "On streams: recall and false incidents per hour" and page.titles[9] == "Results"
    assert page.titles[-1] == "Automatic tags" and folded.count("<summary>") == len(page.titles) - 3
    assert "<details open" not in text and "nan" not in re.sub(r'src="[^"]*"', "", text)


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_is_the_same_twice(folder):
    text = page_of(folder, SHORT, UNPROVEN)
    assert "://" not in text and not re.search(r"<script|<link|<iframe|@import|javascript:|<nav", text)
    assert set(re.findall(r'\bsrc="(.{16})', text)) == {"data:audio/flac;"}
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert page_of(folder, SHORT, UNPROVEN) == text
    assert "came near an incident" in page_of(folder, SHORT, UNPROVEN, near=closest([]))
