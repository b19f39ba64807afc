"""Real recordings held out in turns: false alarms an hour and recall on all of them, and on sources left out."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from gunshot import streams
from gunshot.alarms import summary
from gunshot.alarms.operate import det, operate
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import processes, tables
from gunshot.models.scores import bootstrap, metrics
from gunshot.studies import recordings

MIN_GROUPS = 10  # with shots, for a source to be left out alone; the rest is left out together
RATE = 0.05  # of the environment files that alarm where recall is measured


@dataclass(frozen=True)
class Corpus:
    """Chunks of data/features: `real` ones may be held out, `simulated` ones are always trained on.

    Rows of `table` have the columns of tables.CHUNK, y (1 GUN) and upstream; `x` are their features, and so are those
    of the simulated validation chunks.
    """

    x: np.ndarray
    table: pd.DataFrame
    simulated_x: np.ndarray
    simulated_y: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray


def folds(groups: pd.DataFrame, count: int, seed: int) -> pd.Series:
    """Return the fold, 0 to `count` - 1, of each recording group, by group; both classes and no group in two.

    Parameters
    ----------
    groups : recording_group and y, a row a recording

    Raises
    ------
    ValueError
        A class has fewer groups than folds.
    """
    for value in (0, 1):
        if (found := groups.loc[groups["y"] == value, "recording_group"].nunique()) < count:
            raise ValueError(f"folds={count} must be at most the recording groups of a class; y={value} has {found}")
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold = np.empty(len(groups), int)
    for i, (_, held) in enumerate(split.split(groups, groups["y"], groups["recording_group"])):
        fold[held] = i
    return pd.Series(fold, groups["recording_group"]).groupby(level=0).first()


def train(corpus: Corpus, held: np.ndarray, pool: list[np.ndarray], seed: int, p, out: Path) -> Path:
    """Train on simulated chunks and on the real ones that are not `held`, and write model.tflite and its report.

    In a process of its own, since TensorFlow and processes that are forked later do not go together.
    """
    path = out / "model.tflite"
    processes.apart(_train, corpus, held, pool, seed, p, path)
    return path


def _train(corpus: Corpus, held: np.ndarray, pool: list[np.ndarray], seed: int, p, path: Path) -> None:
    from gunshot.base.files import atomic
    from gunshot.models.network import quantize, training

    x = np.concatenate([corpus.x[~held], corpus.simulated_x])
    y = np.concatenate([corpus.table.loc[~held, "y"].to_numpy(), corpus.simulated_y])
    rows = training.repeated(y, np.arange(len(y)) >= np.sum(~held), p.network.real_share)
    rng = np.random.default_rng(seed)
    model, _ = training.train(x, y, corpus.val_x, corpus.val_y, rng, p.network, rows=rows, pool=pool)
    few = np.sort(rng.permutation(len(x))[: p.quantize.representative])
    artifact = quantize.convert(quantize.fixed(model, n_frames=x.shape[2]), x[few])
    with atomic(path) as part:
        part.write_bytes(artifact)
    logit = quantize.Tflm(artifact).logit(corpus.val_x)
    tables.write_json(
        path.with_name("report.json"), metrics.stated(corpus.val_y, logit, min_recall=p.evaluate.min_recall)
    )


def streams_of(fold: pd.Series, turn: int, count: int, recordings: pd.DataFrame, onsets: dict, raw: Path, out: Path, p):
    """Write the real streams of one turn to `out`/val and `out`/test: fold `turn` is tested, the next one validates."""
    side_of = {group: {turn: "test", (turn + 1) % count: "val"}.get(i, "train") for group, i in fold.items()}
    shape = {"seed": p.streams.seed, "stream_s": p.streams.stream_s, "sr": p.audio.sr}
    planned = streams.plan_real(recordings, onsets, side_of, **shape)
    for side in ("val", "test"):
        part = [plan for plan in planned if plan.side == side]
        streams.write(out / side, raw, part, sr=p.audio.sr, workers=p.simulate.workers)


def validate(model: Path, folders: dict[Path, str], p) -> dict:
    """Return the operating point, as `alarms.operate` gives it, on the streams of folders, of an origin each."""
    curves = []
    for folder, origin in folders.items():
        table = tables.read(folder / "streams.csv", tables.STREAM)
        table = table[table["origin"] == origin]
        scored = score_streams(table, folder, {"int8": model}, {}, p)
        if len(counts := gathered(scored)["counts"]):
            curves.append(det(counts, table))
    return operate(pd.concat(curves, ignore_index=True), limit=p.detector.max_fa_per_hour)


def measure(model: Path, folder: Path, logit: float, p) -> dict[str, pd.DataFrame]:
    """Return all rows of `alarms.score_stream` on a folder's streams at a mean logit, with its streams and events."""
    table = tables.read(folder / "streams.csv", tables.STREAM)
    found = gathered(score_streams(table, folder, {"int8": model}, {"int8": logit}, p))
    return found | {"streams": table, "events": tables.read(folder / "events.csv", tables.STREAM_EVENT)}


def pooled(turns: list[dict[str, pd.DataFrame]], *, limit: float, sr: int) -> dict[str, dict]:
    """Return what `tally.figures` gives of all turns together, each at its own operating point."""
    for number, turn in enumerate(turns):
        for table in turn.values():
            if "path" in table:
                table["path"] = f"{number}/" + table["path"]
    merged = {key: pd.concat([turn[key] for turn in turns], ignore_index=True) for key in turns[0]}
    return summary.figures(**merged, names=["int8"], limit=limit, sr=sr)


def sources(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the upstream sources that are left out at a time: each that has many groups with shots, and the rest."""
    counts = table[table["y"] == 1].groupby("upstream")["recording_group"].nunique()
    alone = {name: [name] for name in counts.index[counts >= MIN_GROUPS]}
    rest = counts.index[counts < MIN_GROUPS].tolist()
    return alone | ({"the rest": rest} if rest else {})


def by_source(files: pd.DataFrame, names: list[str], rng: np.random.Generator) -> list[dict]:
    """Return for each source per-file AUC and recall at RATE of its shots against the environment files in `files`.

    Intervals of 95 %: recording groups drawn with replacement in each class.

    Parameters
    ----------
    files : y, score, upstream and recording_group of files that were not trained on
    """
    env = files[files["y"] == 0]
    rows = []
    for name in names:
        gun = files[(files["y"] == 1) & (files["upstream"] == name)]
        part = pd.concat([gun, env])
        group_of = [pd.factorize(side["recording_group"])[0] for side in (gun, env)]
        once = [np.ones(row.max() + 1, int) for row in group_of]
        figures = partial(_figures, part["y"].to_numpy(), part["score"].to_numpy(), group_of)
        auc, recall = figures(*once)
        low, high = bootstrap.interval(figures, [len(count) for count in once], rng)
        rows.append({"source": name, "groups": gun["recording_group"].nunique(), "gun_files": len(gun),
                     "env_files": len(env), "auc": auc, "auc_low": low[0], "auc_high": high[0],
                     "recall_at_5pct": recall, "recall_low": low[1], "recall_high": high[1]})  # fmt: skip
    return rows


def _figures(y: np.ndarray, score: np.ndarray, group_of: list[np.ndarray], *counts: np.ndarray) -> np.ndarray:
    """Return AUC and recall at RATE where each class's groups count so often [shape=(2,)]."""
    weight = np.concatenate([count[row] for count, row in zip(counts, group_of, strict=True)])
    return np.array(
        [roc_auc_score(y, score, sample_weight=weight), metrics.recall_at_false_rate(y, score, RATE, weight)]
    )


def score_files(listed: list[dict], model: Path, p) -> pd.DataFrame:
    """Return the file rows of `recordings.score_files`; what was rejected raises.

    Raises
    ------
    ValueError
        More files were rejected than quality.max_rejected allows.
    """
    files, rejected = [], []
    for _, file, bad in recordings.score_files(listed, {"score": model}, p):
        files += [file] if file else []
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.check_rejected(refused, len(listed), limit=p.quality.max_rejected, where="this message")
    return pd.DataFrame(files)
