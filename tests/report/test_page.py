"""The report says what scikit-learn says, shows every table, needs no other file, and is the same twice."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn import metrics as sklearn_metrics

from gunshot.base import tables
from gunshot.models.scores import metrics
from gunshot.report import chunks, plots, recordings
from gunshot.report.chunks import (
    chunk_figures,
    history_chapter,
    importances_chapter,
    quantization_chapter,
    tagging_chapter,
    validation_chapter,
    write_plots,
    write_report,
)
from gunshot.report.page import MINUS, NOTHING, Chapter, percent
from gunshot.report.recordings import files_chapter

MODELS = ("forest", "float", "int8")
POINTS = {"forest": 0.4, "float": 0.45, "int8": 0.5}
SECTIONS = [
    "What detect does",
    "Results",
    "How to read it",
    "ROC and DET",
    "Precision and recall by threshold",
    "Confusion matrices",
    "Scores by class",
    "By source",
    "By label",
]
FIRST = Chapter("What detect does")
VOID = {"meta", "br", "hr", "img", "link", "input"}


def predictions(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    y = (np.arange(n) % 3 == 0).astype(int)
    gun, env = rng.choice(["pistol", "<b>rifle</b>"], n), rng.choice(["rain", "speech & song"], n)
    table = pd.DataFrame({c: ["x"] * n if kind is str else [0] * n for c, kind in tables.CHUNK.items()})
    table = table.assign(
        label=np.where(y == 1, gun, env),
        source=np.where((y == 0) & (rng.random(n) < 0.3), "env_only", "mixed"),
        **{"class": np.where(y == 1, "gun", "env")},
        y=y,
    )
    for spread, model in zip((0.30, 0.22, 0.24), MODELS, strict=True):
        table[model] = np.clip(0.3 + 0.4 * y + spread * rng.standard_normal(n), 0, 1)
    return table.assign(int8=np.round(table["int8"] * 256) / 256)


class Page(HTMLParser):
    """What a page holds: titles, tables as rows of text, attributes; raises where tags do not nest."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.titles, self.tables, self.attributes, self.text = [], [], {}, [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *a) for a in attrs]

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *a) for a in attrs]
        self.open += [] if tag in VOID else [tag]
        if tag == "h2":
            self.titles.append("")
        elif tag == "table":
            self.tables[self.titles[-1]] = []
        elif tag == "tr":
            self.tables[self.titles[-1]].append([])
        elif tag in ("td", "th"):
            self.tables[self.titles[-1]][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data
        if "h2" in self.open:
            self.titles[-1] += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.tables[self.titles[-1]][-1][-1] += data

    def row(self, title: str, name: str) -> list[str]:
        (row,) = [row for row in self.tables[title] if row[0] == name]
        return row


def extra(figures: dict) -> list[Chapter]:
    a, b = figures["metrics"]["float"], figures["metrics"]["int8"]
    failed = {"expectation": "ExpectColumnValuesToBeUnique", "column": "chunk", "severity": "critical",
              "success": False, "unexpected": 1234, "examples": ["a.wav#0: <i>0</i>"]}  # fmt: skip
    passed = failed | {"expectation": "ExpectNothing", "success": True, "unexpected": 0, "examples": []}
    counts = {"critical": 1, "warning": 0, "info": 0}
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.6, 0.4, 0.3], "val_loss": [0.7, 0.5, 0.55]})
    files = pd.DataFrame({"file": ["a.wav", "b.wav", "c.wav"], "label": "rain", "source": ["s", None, "s"],
                          "score": [0.1, 0.95, 0.5], "y": [0, 0, 1]})  # fmt: skip
    return [
        quantization_chapter(
            {"bytes": 18432, "arena_bytes": 14212, "operators": ["CONV_2D", "SOFTMAX"], "float": a, "int8": b,
             "flip_rate": 0.0123, "flip_rate_at_threshold": 0.0001, "auc_delta": b["auc"] - a["auc"],
             "accuracy_delta": b["accuracy"] - a["accuracy"], "recall_delta": b["recall"] - a["recall"]}
        ),
        files_chapter(files),
        history_chapter(history.assign(learning_rate=0.003)),
        importances_chapter(np.full((32, 33), 1 / (32 * 33))),
        validation_chapter(
            [{"suite": "chunks", "success": False, "evaluated": 12, "failed": counts, "expectations": [failed, passed]}]
        ),
        Chapter("Own", "One.\n\nTwo.", pd.DataFrame({"a": [1.5, np.nan], "b": ["", None], "c": [True, False]})),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def figures() -> dict:
    return chunk_figures(predictions(), POINTS)


@pytest.fixture(scope="module")
def text(figures, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "deep" / "page.html"
    write_report(path, title="Title <x>", intro="Intro & more.", figures=figures, first=FIRST, extra=extra(figures))
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


@pytest.mark.parametrize("model", MODELS)
def test_figures_agree_with_scikit_learn(figures, model):
    table = predictions()
    y, score = table["y"], table[model]
    m = figures["metrics"][model]
    assert m["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(y, score))
    assert m["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(y, score >= 0.5))
    assert m["precision"] == pytest.approx(sklearn_metrics.precision_score(y, score >= 0.5))
    assert m["threshold"] == POINTS[model]
    assert m["recall_at_threshold"] == pytest.approx(sklearn_metrics.recall_score(y, score >= POINTS[model]))
    roc = figures["curves"][model]["roc"]
    assert sklearn_metrics.auc(roc["fpr"], roc["tpr"]) == pytest.approx(m["auc"])
    by_label = figures["by_label"][model].set_index("label")
    part = table[table["label"] == "rain"]
    assert by_label.loc["rain", "false_rate"] == pytest.approx(np.mean(part[model] >= POINTS[model]))
    against = pd.concat([part, table[table["y"] == 1]])
    assert by_label.loc["rain", "auc"] == pytest.approx(sklearn_metrics.roc_auc_score(against["y"], against[model]))
    assert set(figures["by_source"][model]["source"]) == {"mixed", "env_only"}


def test_figures_take_any_subset_of_models():
    assert list(chunk_figures(predictions(), {"int8": 0.5})["metrics"]) == ["int8"]


@pytest.mark.parametrize(
    ("change", "points", "message"),
    [
        (lambda t: t, {}, r"points=\{\} must name"),
        (lambda t: t, {"tree": 0.5}, r"no scores of \['tree'\]"),
        (lambda t: t.assign(int8=np.nan), POINTS, "scores of int8: 900 are not finite"),
        (lambda t: t[t["y"] == 0], POINTS, "GUN chunks=0 must be at least 1"),
        (lambda t: t[t["y"] == 1], POINTS, "ENV chunks=0 must be at least 1"),
    ],
)
def test_figures_name_what_is_wrong(change, points, message):
    with pytest.raises(ValueError, match=message):
        chunk_figures(change(predictions()), points)


def test_write_plots_thins_curves_and_keeps_their_ends(tmp_path):
    figures = chunk_figures(predictions(6000), POINTS)
    write_plots(figures, tmp_path)
    assert len(figures["curves"]["float"]["threshold"]) > chunks.POINTS
    for model in MODELS:
        for name, curve in figures["curves"][model].items():
            written = pd.read_csv(tmp_path / f"{name}_{model}.csv")
            assert len(written) == min(len(curve), chunks.POINTS)
            assert written.columns.tolist() == curve.columns.tolist()
            np.testing.assert_allclose(written.iloc[[0, -1]], curve.iloc[[0, -1]])


def test_write_plots_tables(figures, tmp_path):
    write_plots(figures, tmp_path)
    names = {f"{kind}_{model}.csv" for kind in ("roc", "det", "threshold", "confusion") for model in MODELS}
    assert {p.name for p in tmp_path.iterdir()} == names | {"by_label.csv", "by_source.csv"}
    confusion = pd.read_csv(tmp_path / "confusion_float.csv")
    at = metrics.at_threshold(predictions()["y"].to_numpy(), predictions()["float"].to_numpy(), POINTS["float"])
    counts = confusion.value_counts()
    assert len(confusion) == 900
    assert [counts["GUN", "GUN"], counts["ENV", "GUN"], counts["GUN", "ENV"]] == [at["tp"], at["fp"], at["fn"]]
    by_label = pd.read_csv(tmp_path / "by_label.csv")
    assert by_label.columns.tolist() == ["model", *figures["by_label"]["float"].columns]
    assert by_label["model"].value_counts().to_dict() == dict.fromkeys(MODELS, 4)
    assert len(pd.read_csv(tmp_path / "by_source.csv")) == 2 * len(MODELS)


def test_write_plots_are_the_same_twice(figures, tmp_path):
    for folder in ("a", "b"):
        write_plots(figures, tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.slow
def test_page_has_every_section_folded_but_the_first(page, text):
    own = ["Quantization", "Worst files", "Training of the network", "Importances of the forest", "Data validation"]
    assert page.titles == [*SECTIONS, *own, "Own"]
    assert re.findall(r"<details( open)?>", text) == [" open", *[""] * (len(page.titles) - 1)]
    assert text.count("</summary>") == len(page.titles)
    assert [value for tag, key, value in page.attributes if (tag, key) == ("a", "href")] == ["data_docs/chunks.html"]
    tabled = {"Results", "By source", "By label", "Quantization", "Worst files", "Data validation", "Own"}
    assert set(page.tables) == tabled


def test_page_needs_nothing_else(text, page):
    assert "://" not in text
    assert not re.search(r"<script|<link|<iframe|@import|javascript:", text)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    local = [v for _, key, v in page.attributes if key in ("src", "href", "xlink:href")]
    assert local
    assert all(v.startswith(("#", "data:image/png;base64,", "data_docs/")) for v in local)


@pytest.mark.slow
def test_page_is_the_same_twice(figures, text, tmp_path):
    write_report(
        tmp_path / "b.html",
        title="Title <x>",
        intro="Intro & more.",
        figures=figures,
        first=FIRST,
        extra=extra(figures),
    )
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == text


def test_page_escapes_names_and_shows_no_nan(text, page):
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<x>" not in text
    assert page.row("By label", "<b>rifle</b>")[1:3] == [str(np.sum(predictions()["label"] == "<b>rifle</b>")), "0"]
    assert "speech & song" in page.text
    assert not re.search(r"\b(nan|NaN|None|inf|NaT)\b", page.text)
    assert page.tables["Own"] == [["a", "b", "c"], ["1.5", "–", "yes"], ["–", "–", "no"]]


def test_page_shows_the_metrics_of_every_model(figures, page):
    groups, names = page.tables["Results"][:2]
    assert groups == ["", "At threshold 0.5", "At the chunk threshold", "Chunks"]
    assert names[:3] == ["model", "AUC", "accuracy"]
    for model, m in figures["metrics"].items():
        shown = page.row("Results", model)
        assert shown[1] == f"{m['auc']:.4f}"
        assert shown[names.index("threshold")] == f"{POINTS[model]:.3f}"
        assert shown[6:10] == [
            f"{100 * m[f'{key}']:.1f} %"
            for key in (
                "recall_at_threshold",
                "recall_at_threshold_lower",
                "false_rate_at_threshold",
                "false_rate_at_threshold_upper",
            )
        ]
        assert shown[-2:] == ["300", "600"]


def test_page_sets_the_models_side_by_side(figures, page):
    assert page.tables["By source"][0] == ["", "Chunks", "Recall", "False rate", "AUC"]
    assert page.tables["By source"][1] == ["source", "GUN", "ENV", *MODELS, *MODELS, *MODELS, "against"]
    row = page.row("By source", "env_only")
    assert row[3:6] == [NOTHING] * 3
    expected = [figures["by_source"][m].set_index("source").loc["env_only", "false_rate"] for m in MODELS]
    assert row[6:9] == [f"{100 * v:.1f} %" for v in expected]
    assert row[-1] == "all"
    labels = [row[0] for row in page.tables["By label"][2:]]
    assert labels == ["<b>rifle</b>", "pistol", "rain", "speech & song"]


def test_figures_have_a_text_alternative_and_ids_are_unique(page):
    roles = [a for a in page.attributes if a == ("svg", "role", "img")]
    labels = [value for tag, key, value in page.attributes if (tag, key) == ("svg", "aria-label")]
    assert len(roles) == len(labels) == 6
    assert all(labels)
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    used = {v.removeprefix("#") for _, key, v in page.attributes if key in ("href", "xlink:href") and v[0] == "#"}
    assert used <= set(ids)


def test_confusion_names_the_counts(figures):
    at = metrics.at_threshold(predictions()["y"].to_numpy(), predictions()["int8"].to_numpy(), POINTS["int8"])
    label = plots.confusion(figures).get_label()
    assert f"int8: {at['tp']} of 300 GUN and {at['tn']} of 600 ENV right" in label


def test_sections_name_what_they_show(page):
    assert "18,432 bytes and an arena of 14,212 bytes, and needs 2 operators: CONV_2D, SOFTMAX" in page.text
    assert "on 1.2 % of the chunks" in page.text
    assert "on <0.1 % at float's chunk threshold" in page.text
    assert page.tables["Quantization"][0][1:3] == ["float", "int8"]
    assert [row[0] for row in page.tables["Worst files"][1:]] == ["b.wav", "c.wav", "a.wav"]
    assert page.row("Worst files", "b.wav")[1:] == ["rain", NOTHING, "0.950", "ENV"]
    shown = page.row("Data validation", "chunks")
    assert shown[:6] == ["chunks", "failed", "12", "1", "0", "0"]
    assert "critical: chunk: ExpectColumnValuesToBeUnique: 1,234 rows" in shown[6]
    assert "a.wav#0: <i>0</i>" in shown[6]
    assert "ExpectNothing" not in shown[6]


def test_files_without_y_keep_their_order_and_are_cut():
    files = pd.DataFrame({"file": [f"{i}.wav" for i in range(50)], "label": "x", "source": "s", "score": 0.5})
    chapter = files_chapter(files)
    assert chapter.table["file"].tolist() == files["file"].tolist()[: recordings.FILES]
    assert chapter.text == "20 of 50 files, as given."


def test_quantization_shows_the_reported_differences():
    values = dict.fromkeys(chunks.COMPARED, 0.9)
    chapter = quantization_chapter(
        {"bytes": 1, "arena_bytes": 1, "operators": [], "flip_rate": 0.0, "flip_rate_at_threshold": 0.0,
         "float": values, "int8": values | {"auc": 0.895, "recall": 0.91}}
    )  # fmt: skip
    delta = chapter.table.set_index("measure").iloc[:, -1]
    assert delta["AUC"] == f"{MINUS}0.0050"
    assert delta["Recall at 0.5"] == "+1.00"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0 %"), (1, "100.0 %"), (0.9734, "97.3 %"), (1e-5, "<0.1 %"), (0.99999, ">99.9 %"), (np.nan, "–")],
)
def test_percent_never_rounds_to_nothing_or_all(share, shown):
    assert percent(share) == shown


def test_importances_must_have_bands_and_frames():
    with pytest.raises(ValueError, match=r"importances.shape=\(1056,\) must be \(n_mels, frames\)"):
        importances_chapter(np.zeros(1056))


@pytest.mark.slow
def test_svg_falls_back_to_the_title_and_escapes_it(figures, tmp_path):
    chapter = Chapter('A "quoted" <title>', figure=Figure())
    write_report(tmp_path / "p.html", title="t", intro="i", figures=figures, first=FIRST, extra=[chapter])
    labels = [v for tag, key, v in Page((tmp_path / "p.html").read_text()).attributes if key == "aria-label"]
    assert labels[-1] == chapter.title


@pytest.mark.slow
@pytest.mark.parametrize("score", [[0.0, 0.0, 1.0], [0.5, 0.5, 0.5], [1.0, 1.0, 0.0]])
def test_the_smallest_perfect_useless_and_inverted_models_are_drawn_without_a_warning(score, tmp_path):
    table = predictions(3).assign(y=[0, 0, 1], int8=score)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = chunk_figures(table, {"int8": 0.5})
        write_report(tmp_path / "p.html", title="t", intro="i", figures=figures, first=FIRST, extra=[])
    assert Page((tmp_path / "p.html").read_text()).titles == SECTIONS


def test_automatic_tags_are_shown_beside_chance_and_what_is_not_measured_is_said():
    part = {"shots": 7, "precision": 0.9, "recall": 0.8, "f1": 0.847, "control": {"f1": 0.1}}
    figures = {"simulated": part | {"all": part | {"shots": 9}}, "real": None}
    chapter = tagging_chapter(figures)
    assert chapter.table["recordings"].tolist() == ["simulated bursts", "all simulated"]
    assert chapter.table[["shots", "f1 at random"]].to_numpy().tolist() == [[7, 0.1], [9, 0.1]]
    assert "nothing is measured yet" in chapter.text
    real = tagging_chapter(figures | {"real": part})
    assert len(real.table) == 3 and "nothing is measured" not in real.text
