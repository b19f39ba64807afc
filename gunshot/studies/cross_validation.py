"""Real recordings held out in turns: false incidents an hour and recall on all of them."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from gunshot import features, streams, tags
from gunshot.alarms import summary
from gunshot.alarms.det import det
from gunshot.alarms.operate import operate
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import params, processes, tables
from gunshot.detect import listener
from gunshot.models.network import negatives
from gunshot.models.scores import metrics


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that networks are trained, and measured on streams, by."""

    network: params.Network
    quantize: params.Quantize
    evaluate: params.Evaluate
    streams: params.Streams
    simulate: params.Simulate


class Folders(NamedTuple):
    """Where the pipeline's stages put what networks are trained and measured on."""

    raw: Path
    tagged: Path
    features: Path
    streams_train: Path
    streams_val: Path


Pool = dict[str, list[tuple[str, np.ndarray]]]  # by source, recording groups and log-mels without a shot


POOL = {"source": str, "recording_group": str, "frames": int}  # what `write_pool` wrote, a row a log-mel


class Network(NamedTuple):
    """A network to be trained: into the folder `out`, from `seed`, on nothing of the groups `left_out`."""

    out: Path
    seed: int
    left_out: frozenset[str]


@dataclass(frozen=True)
class Corpus:
    """Chunks of data/features: `real` ones may be held out, `simulated` ones are always trained on.

    Rows of `table` and of `simulated` have the columns of tables.CHUNK and y (1 GUN); `x` and `simulated_x` are their
    features. `val_x` and `val_y` are simulated validation chunks.
    """

    x: np.ndarray
    table: pd.DataFrame
    simulated_x: np.ndarray
    simulated: pd.DataFrame
    val_x: np.ndarray
    val_y: np.ndarray


def cross_validate(folders: Folders, p: Sections, *, count: int) -> dict:
    """Return the figures of all turns together: false incidents an hour and recall, each real recording tested once.

    Each turn leaves two of the `count` folds out of training. It chooses its threshold on simulated validation streams
    and on those of one fold, and is tested on those of the other. The figures are those of `alarms.summary`; with them
    are the number of `folds`, each turn's operating point in `operating`, `causes` of false incidents, and the curve
    `det`.
    """
    chunks(folders)  # what is missing is said before any work
    recordings, onsets = recorded(folders)
    fold = folds(recordings.assign(y=(recordings["class"] == "gun").astype(int)), count, p.streams.seed)
    wanted, turns, points = [], [], []
    with tempfile.TemporaryDirectory() as name:
        write_pool(recordings, folders, p, Path(name))
        for turn in range(count):
            streams_of(fold, turn, count, recordings, onsets, folders.raw, Path(name, str(turn)), p)
            left_out = fold.index[fold.isin([turn, (turn + 1) % count])]
            wanted.append(Network(Path(name, str(turn)), p.network.seed, frozenset(left_out)))
        for model in tqdm(trained(wanted, folders, Path(name), p), total=count, desc="cross-validate", unit="fold"):
            points.append(validate(model, {folders.streams_val: "simulated", model.with_name("val"): "real"}, p))
            turns.append(score_folder(model, model.with_name("test"), points[-1]["logit"], p))
    whole = pooled(turns, limit=p.detector.max_false_incidents_per_hour, sr=p.audio.sr)
    causes, curve = whole["tables"]["causes"].drop(columns="model").astype(object), whole["tables"]["det"]
    curve = curve.assign(false_onsets_per_hour=curve["false_onsets"] / curve["hours"])
    return whole["figures"]["real"]["int8"] | {
        "folds": count,
        "operating": points,
        "causes": causes.where(causes.notna(), None).to_dict("records"),  # JSON has no NaN
        "det": curve[["logit", "false_incidents_per_hour", "false_onsets_per_hour", "recall"]].to_dict("records"),
    }


def chunks(folders: Folders) -> dict[str, tuple]:
    """Return by side the features, memory-mapped, y, the table, and which rows are real and which simulated.

    Augmented copies of real chunks are neither.

    Raises
    ------
    ValueError
        There are no real chunks, or no simulated ones to validate on.
    """
    sides = {}
    for side in tables.SIDES:
        x, y, table = tables.features(folders.features, side)
        simulated = (table["source"] == "simulated").to_numpy()
        sides[side] = x, y, table, ~simulated & ~table["chunk"].str.contains(tables.COPY).to_numpy(), simulated
    if not any(real.any() for *_, real, _ in sides.values()):
        raise ValueError(
            f"{folders.features}: must hold real chunks; import recordings with `gunshot import`, then `dvc repro`"
        )
    if not sides["val"][-1].any():
        raise ValueError(
            f"{folders.features}: must hold simulated chunks on the side val, by which networks of all folds are "
            "compared; set simulate.gun_recordings and simulate.env_recordings above 0, then `dvc repro`"
        )
    return sides


def corpus(folders: Folders) -> Corpus:
    """Return the `chunks` that a network is trained on, or may be."""
    sides = {side: (x, y, table.assign(y=y), *rows) for side, (x, y, table, *rows) in chunks(folders).items()}
    (x, _, table, _, simulated), (x_val, y_val, *_, simulated_val) = sides["train"], sides["val"]
    return Corpus(
        np.concatenate([x[real] for x, _, _, real, _ in sides.values()]),
        pd.concat([table[real] for _, _, table, real, _ in sides.values()], ignore_index=True),
        x[simulated],
        table[simulated],
        x_val[simulated_val],
        y_val[simulated_val],
    )


def recorded(folders: Folders) -> tuple[pd.DataFrame, dict[str, list[int]]]:
    """Return the real recordings (columns RECORDING) and their onsets in samples, by recording."""
    recordings = tables.read(folders.tagged / "recordings.csv", tables.RECORDING)
    placed, _ = tags.read(folders.tagged / "tags.csv")
    onsets = {name: [tag.start for tag in marks] for name, marks in placed.items()}
    return recordings[recordings["source"] != "simulated"].reset_index(drop=True), onsets


def write_pool(recordings: pd.DataFrame, folders: Folders, p: Sections, out: Path) -> None:
    """Write to the folder `out` where hard negatives are sought: simulated training streams, and real environment."""
    simulated = sorted((folders.streams_train / "simulated").rglob("*.wav"))
    table = pd.DataFrame({"path": simulated, "source": "simulated", "recording_group": ""})
    env = recordings[recordings["class"] == "env"]
    table = pd.concat([table, env.assign(path=[folders.raw / path for path in env["path"]])], ignore_index=True)
    table = table if p.network.hard_share else table[:0]
    heard = processes.in_order(_log_mel, table["path"], p, workers=p.simulate.workers, batch=16)
    table = table.assign(frames=negatives.write(out / "pool.f32", heard))
    tables.write(out / "pool.csv", table[list(POOL)])


def read_pool(folder: Path) -> Pool:
    """Return what `write_pool` wrote, its log-mels memory-mapped."""
    table, pool = tables.read(folder / "pool.csv", POOL), {}
    log_mels = negatives.read(folder / "pool.f32", table["frames"].tolist())
    for source, group, log_mel in zip(table["source"], table["recording_group"], log_mels, strict=True):
        pool.setdefault(source, []).append((group, log_mel))
    return pool


def _log_mel(path: Path, p: Sections) -> np.ndarray:
    log_mel = features.of_file(path, sr=p.audio.sr, min_length=p.features.n_fft, **p.features.model_dump())
    return features.in_quiet(log_mel, p.context.before, p.context.frames - p.context.before)


def known(pool: Pool, left_out: Collection[str]) -> dict[str, list[np.ndarray]]:
    """Return the log-mels of a pool by source, without the recording groups that are left out."""
    parts = {source: [mel for group, mel in part if group not in left_out] for source, part in pool.items()}
    return {source: part for source, part in parts.items() if part}


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
        if (n_groups := groups.loc[groups["y"] == value, "recording_group"].nunique()) < count:
            raise ValueError(f"folds={count} must be at most the recording groups of a class; y={value} has {n_groups}")
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold = np.empty(len(groups), int)
    for i, (_, held) in enumerate(split.split(groups, groups["y"], groups["recording_group"])):
        fold[held] = i
    return pd.Series(fold, groups["recording_group"]).groupby(level=0).first()


def trained(wanted: Iterable[Network], folders: Folders, heard: Path, p: Sections) -> Iterator[Path]:
    """Yield the path of each network's int8 model, in order; `heard` is the folder of `write_pool`.

    They are trained one after the other, while what was yielded is used; or each by a worker of a cluster.
    """
    yield from processes.in_order(train, wanted, folders, heard, p, workers=1, batch=1)


def train(network: Network, folders: Folders, heard: Path, p: Sections) -> Path:
    """Train on simulated chunks and on the real ones that are not left out, and write model.tflite and its report.

    In a process of its own, since TensorFlow keeps what it has learned of a network until its process ends.
    """
    path = network.out / "model.tflite"
    processes.apart(_train_of, network, folders, heard, p, path)
    return path


def _train_of(network: Network, folders: Folders, heard: Path, p: Sections, path: Path) -> None:
    whole = corpus(folders)
    held = whole.table["recording_group"].isin(network.left_out).to_numpy()
    _train(whole, held, known(read_pool(heard), network.left_out), network.seed, p, path)


def _train(
    corpus: Corpus, held: np.ndarray, pool: dict[str, list[np.ndarray]], seed: int, p: Sections, path: Path
) -> None:
    from gunshot.base.files import atomic
    from gunshot.models.network import quantize, training

    x = np.concatenate([corpus.x[~held], corpus.simulated_x])
    table = pd.concat([corpus.table[~held], corpus.simulated], ignore_index=True)
    chance = training.chances(table, p.network.real_share)
    y, rng = table["y"].to_numpy(), np.random.default_rng(seed)
    label, val = training.labels(table), (corpus.val_x, corpus.val_y)
    model, _ = training.train(x, y, *val, rng, p.network, label=label, chance=chance, pool=pool)
    few = np.sort(rng.permutation(len(x))[: p.quantize.representative])
    artifact = quantize.convert(quantize.fixed(model, n_frames=x.shape[2]), x[few])
    with atomic(path) as part:
        part.write_bytes(artifact)
    logit = quantize.Tflm(artifact).logit(corpus.val_x)
    tables.write_json(
        path.with_name("report.json"), metrics.stated(corpus.val_y, logit, min_recall=p.evaluate.min_recall)
    )


def streams_of(
    fold: pd.Series, turn: int, count: int, recordings: pd.DataFrame, onsets: dict, raw: Path, out: Path, p: Sections
):
    """Write the real streams of one turn to `out`/val and `out`/test: fold `turn` is tested, the next one validates."""
    side_of = {group: {turn: "test", (turn + 1) % count: "val"}.get(i, "train") for group, i in fold.items()}
    shape = {"seed": p.streams.seed, "stream_s": p.streams.stream_s, "sr": p.audio.sr}
    planned = streams.plan_real(recordings, onsets, side_of, **shape)
    for side in ("val", "test"):
        part = [plan for plan in planned if plan.side == side]
        streams.write(out / side, raw, part, sr=p.audio.sr, workers=p.simulate.workers)


def validate(model: Path, folders: dict[Path, str], p: Sections) -> dict:
    """Return the operating point that `operate` chooses on the streams of `folders`, each with its origin."""
    curves = []
    for folder, origin in folders.items():
        table = tables.read(folder / "streams.csv", tables.STREAM)
        table = table[table["origin"] == origin]
        scored = score_streams(table, folder, {"int8": model}, {}, p)
        if len(counts := gathered(scored)["counts"]):
            curves.append(det(counts, table))
    return operate(pd.concat(curves, ignore_index=True), limit=p.detector.max_false_incidents_per_hour)


def score_folder(model: Path, folder: Path, logit: float, p: Sections) -> dict[str, pd.DataFrame]:
    """Return all rows of `score_stream` on a folder's streams at a mean logit, with its streams and events."""
    table = tables.read(folder / "streams.csv", tables.STREAM)
    scored = gathered(score_streams(table, folder, {"int8": model}, {"int8": logit}, p))
    return scored | {"streams": table, "events": tables.read(folder / "events.csv", tables.STREAM_EVENT)}


def pooled(turns: list[dict[str, pd.DataFrame]], *, limit: float, sr: int) -> dict[str, dict]:
    """Return what `alarms.summary.figures` gives of all turns together, each at its own operating point."""
    for number, turn in enumerate(turns):
        for table in turn.values():
            if "path" in table:
                table["path"] = f"{number}/" + table["path"]
    merged = {key: pd.concat([turn[key] for turn in turns], ignore_index=True) for key in turns[0]}
    return summary.figures(**merged, names=["int8"], limit=limit, sr=sr)
