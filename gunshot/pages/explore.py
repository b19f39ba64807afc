"""gunshot explore: one page on what there is to learn from, and what a random split would have pretended."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from bokeh.embed import components
from bokeh.resources import INLINE
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from gunshot import features, tags
from gunshot.base import audio, tables
from gunshot.base.files import atomic
from gunshot.dataset import chunks
from gunshot.pages import charts
from gunshot.report import media
from gunshot.report.page import load_template
from gunshot.studies import leakage

EMBEDDED = 2500  # chunks in the plane
LEAKED = 3000  # chunks that the leakage gap is measured on
EXAMPLES_S = 4.0  # of an example, at most
LABELS = 30  # with an example, at most
HARD, NEAR = 8, 3  # chunks that the model gets most wrong, and neighbours of each
QUANTILES = (0.05, 0.5, 0.95)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Part:
    """A chapter of the page; `missing` is the command that makes what it needs."""

    title: str
    text: str = ""
    figures: list = field(default_factory=list)
    table: pd.DataFrame | None = None
    examples: list[list[dict]] = field(default_factory=list)
    missing: str = ""


def rms_and_peak(recordings: pd.DataFrame, raw: Path, *, sr: int) -> Iterator[tuple[float, float]]:
    """Yield each recording's RMS and peak, dBFS."""
    for path in recordings["path"]:
        y = audio.to_float(audio.read_pcm(raw / path, sr=sr))
        rms, peak = np.sqrt(np.mean(np.square(y), dtype=np.float64)), np.abs(y).max(initial=0)
        yield tuple(float(20 * np.log10(max(level, 1e-6))) for level in (rms, peak))


def overview(recordings: pd.DataFrame) -> pd.DataFrame:
    """Return recordings, groups, hours, and quantiles of duration and level, a row for each class and source."""
    by = recordings.groupby(["class", "source"])
    table = pd.DataFrame(
        {
            "recordings": by.size(),
            "groups": by["recording_group"].nunique(),
            "hours": by["duration_s"].sum() / 3600,
        }
    )
    for name, column in {"duration, s": "duration_s", "level, dBFS RMS": "rms_db", "peak, dBFS": "peak_db"}.items():
        for q in QUANTILES:
            table[f"{name}, {q:.0%}"] = by[column].quantile(q)
    return table.reset_index()


def plane(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return chunks [shape=(n, features)] in two dimensions, float32 [shape=(n, 2)]: 50 components, then t-SNE."""
    seed = int(rng.integers(2**31))
    reduced = PCA(min(50, *x.shape), random_state=seed, svd_solver="randomized").fit_transform(x)
    perplexity = min(30.0, (len(x) - 1) / 3)
    return TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced).astype(np.float32)


def hard(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the chunks that a model gets most wrong, the worst of each recording, worst first."""
    wrong = predictions.assign(score=predictions[model], wrong=(predictions[model] - predictions["y"]).abs())
    wrong = wrong.sort_values(["wrong", "chunk"], ascending=[False, True]).drop_duplicates("recording")
    return wrong.head(HARD)


def neighbours(x: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and row of the rows of `x` [shape=(n, d)] nearest to each query, [shape=(m, k)] each.

    `queries` [shape=(m, d)] have the features of `x`. Each feature counts by its standard deviation in `x`.
    """
    scale = np.maximum(x.std(axis=0), 1e-3)
    nearest = NearestNeighbors(n_neighbors=min(NEAR, len(x))).fit(x / scale).kneighbors(queries / scale)
    return nearest[0], nearest[1]


def example(pcm: np.ndarray, title: str, lines: list[str], *, starts: list[int] = (), p: features.Sections) -> dict:
    """Return what the template shows of some sound: waveform, log-mel, player, and where shots start, percent."""
    mel = features.log_mel(pcm[None], sr=p.audio.sr, **p.features.model_dump())[0]
    return {
        "title": title,
        "lines": lines,
        "waveform": media.waveform(pcm),
        "picture": media.picture(mel),
        "sound": media.sound(pcm, sr=p.audio.sr),
        "starts": [100 * start / len(pcm) for start in starts if start < len(pcm)],
    }


def by_label(
    recordings: pd.DataFrame, raw: Path, tagged: dict[str, list[tags.Tag]], rng, *, p: features.Sections
) -> list[dict]:
    """Return an example of each label, the most frequent labels first, a recording drawn at random."""
    examples = []
    labels = recordings.groupby(["class", "label"]).size().sort_values(ascending=False, kind="stable").head(LABELS)
    for class_, label in labels.index:
        rows = recordings[(recordings["class"] == class_) & (recordings["label"] == label)]
        row = rows.iloc[int(rng.integers(len(rows)))]
        pcm = audio.read_pcm(raw / row["path"], sr=p.audio.sr)[: int(EXAMPLES_S * p.audio.sr)]
        starts = [tag.start for tag in tagged.get(row["path"], [])]
        if len(pcm) >= p.audio.chunk_length:
            lines = [row["path"], row["source"]]
            examples.append(example(pcm, f"{label} ({class_})", lines, starts=starts, p=p))
    return examples


def beside(
    worst: pd.DataFrame, train: pd.DataFrame, x: np.ndarray, worst_x: np.ndarray, folder: Path, *, p: features.Sections
) -> list[list]:
    """Return the hard chunks, each with its nearest chunks in the training split."""
    distance, row = neighbours(x, worst_x)
    size = {"sr": p.audio.sr, "chunk_length": p.audio.chunk_length}
    own = chunks.load(folder, worst, **size)
    near = chunks.load(folder, train.iloc[row.ravel()], **size).reshape(*row.shape, -1)
    shown = []
    for i, chunk in enumerate(worst.itertuples()):
        title = f"score {chunk.score:.2f}, tagged {chunk.label} ({'gun' if chunk.y else 'env'})"
        cells = [example(own[i], title, [chunk.chunk], p=p)]
        for j, place in enumerate(row[i]):
            other = train.iloc[place]
            title = f"{other['label']} ({other['class']}), distance {distance[i, j]:.1f}"
            cells.append(example(near[i, j], title, [other["chunk"]], p=p))
        shown.append(cells)
    return shown


def gaps(x: np.ndarray, table: pd.DataFrame, rng: np.random.Generator) -> dict[str, dict]:
    """Return the leakage gap of simulated chunks, of real ones, and of all, where there are enough groups."""
    simulated = (table["source"] == "simulated").to_numpy()
    kinds = {"simulated": simulated, "real": ~simulated, "all": np.ones(len(table), bool)}
    if simulated.all() or not simulated.any():
        del kinds["all"]
    gap_of = {}
    for name, rows in kinds.items():
        rows = np.flatnonzero(rows)
        groups = table["recording_group"].to_numpy()[rows]
        kept = rows[leakage.sample(groups, rng, chunks=LEAKED)] if len(rows) else rows
        y = (table["class"].to_numpy()[kept] == "gun").astype(int)
        if all(len(np.unique(table["recording_group"].to_numpy()[kept][y == v])) >= leakage.FOLDS for v in (0, 1)):
            gap_of[name] = leakage.gap(x[kept], y, table["recording_group"].to_numpy()[kept], rng)
    return gap_of


def of_recordings(recordings: pd.DataFrame, table: pd.DataFrame, examples: list[dict]) -> list[Part]:
    """Return the parts that need nothing but recordings."""
    return [
        Part(
            "Sources",
            "Recordings, groups and hours by class and source, and how long and how loud they are.",
            table=table,
        ),
        Part(
            "Duration and level",
            "A dot is a recording. A source that lies apart from the others is one that a network can tell by its "
            "level alone. A click on a name hides it.",
            figures=[charts.levels(recordings)],
        ),
        Part("Examples", "One recording a label, drawn at random; orange lines are its tags.", examples=[examples]),
    ]


def of_chunks(
    featurized: Path, folder: Path, scored: Path, rng: np.random.Generator, *, p: features.ContextSections
) -> tuple[list[Part], dict]:
    """Return the parts that need features, and the leakage gaps; `scored` are the predictions on the test split."""
    x, table = features_of(featurized, p)
    parts = [Part("Chunks", "Chunks by label and side of the split.", figures=[charts.counts(table, "label")])]
    rows = np.sort(rng.permutation(len(table))[:EMBEDDED])
    at = table.iloc[rows].assign(**dict(zip("xy", plane(x[rows], rng).T, strict=True)))
    predictions = pd.read_csv(scored) if scored.exists() else None
    if predictions is not None:
        at["score"] = at["chunk"].map(predictions.set_index("chunk")["int8"])
    parts.append(
        Part(
            "A map of the chunks",
            f"{len(rows)} chunks by t-SNE on their log-mels: what lies close sounds alike, distances between "
            "clusters mean nothing. Islands of one source are what a network can learn in place of shots.",
            figures=[charts.embedding(at)],
        )
    )
    text = (
        f"The chunks of the test split that the int8 model gets most wrong, one a recording, and the {NEAR} training "
        "chunks whose log-mels are nearest. A wrong tag or label shows here first."
    )
    if predictions is None:
        parts.append(Part("Hard chunks", text, missing="dvc repro"))
    else:
        worst, train = hard(predictions, "int8"), (table["side"] == "train").to_numpy()
        place = pd.Series(np.arange(len(table)), table["chunk"])
        worst_x = x[place[worst["chunk"]].to_numpy()]
        parts.append(Part("Hard chunks", text, examples=beside(worst, table[train], x[train], worst_x, folder, p=p)))
    gap_of = gaps(x, table, rng)
    parts.append(_leakage(gap_of))
    return parts, gap_of


def _leakage(gap_of: dict[str, dict]) -> Part:
    text = (
        "One Random Forest, cross-validated twice on the same chunks: with recording groups held out, and with a "
        "random split over chunks, where pieces of one recording stand on both sides. The gap is what the random "
        "split would have pretended; its interval is a bootstrap over groups. The forest is a small one, without "
        "augmented copies: only the difference counts, not how good it is."
    )
    rows = [
        {
            "chunks of": name,
            "chunks": str(gap["chunks"]),
            "groups": str(gap["groups"]),
            "accuracy, random": gap["random"]["accuracy"],
            "accuracy, grouped": gap["grouped"]["accuracy"],
            "gap, points": f"{100 * gap['gap']:+.1f} ({100 * gap['gap_lower']:+.1f} to {100 * gap['gap_upper']:+.1f})",
            "AUC, random": gap["random"]["auc"],
            "AUC, grouped": gap["grouped"]["auc"],
        }
        for name, gap in gap_of.items()
    ]
    return Part("Leakage gap", text if rows else f"{text} Too few groups.", table=pd.DataFrame(rows) if rows else None)


def html(path: Path, parts: list[Part], *, title: str, intro: str) -> None:
    """Write the page: Bokeh, sounds and pictures inside, nothing to load; the same bytes for the same data."""
    figures = [figure for part in parts for figure in part.figures]
    script, divs = components(figures) if figures else ("", [])
    divs = iter(divs)
    shown = [(part, [next(divs) for _ in part.figures]) for part in parts]
    bokeh = INLINE.render() if figures else ""
    page = load_template(Path(__file__).with_name("explore.html.j2")).render(
        title=title, intro=intro, parts=shown, bokeh=bokeh, script=script
    )
    number, names = count(1), {}
    page = _UUID.sub(lambda match: names.setdefault(match[0], f"b{next(number)}"), page)  # drawn anew each time
    with atomic(path) as part:
        part.write_text(page, encoding="utf-8")


def features_of(folder: Path, p: features.ContextSections) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the log-mels of all chunks that are no augmented copies, float32 [shape=(n, features)], and their rows."""
    arrays, rows = [], []
    for side in charts.SIDE_COLORS:
        x, _, table = tables.features(folder, side)
        own = ~table["chunk"].str.contains(tables.COPY).to_numpy()
        arrays.append(np.asarray(features.of_chunks(x, p)[own], np.float32).reshape(own.sum(), -1))
        rows.append(table[own].assign(side=side))
    return np.concatenate(arrays), pd.concat(rows, ignore_index=True)
