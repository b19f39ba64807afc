"""A search: rows of params, networks of several seeds each, judged on validation streams; what is done is never lost.

What a row will be follows from the search and from the rows of earlier rounds alone. So a search that was killed, or
that has more workers, has the same rows; networks that were trained lie in its folder by what they are of.
"""

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot.alarms.det import det
from gunshot.alarms.operate import operate
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import params, processes, tables
from gunshot.base.files import atomic, disk
from gunshot.detect import listener
from gunshot.models.network import negatives
from gunshot.models.scores import metrics
from gunshot.studies.space import Interval, Search, Value, changed, present

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
except ModuleNotFoundError as e:
    needed = "gunshot search needs the extra search (.venv/bin/uv pip install -e '.[search]')"
    raise ValueError(f"{e}: {needed}") from None

optuna.logging.set_verbosity(optuna.logging.WARNING)
FEW = 5  # rows of earlier rounds that were judged whole, before any row is compared with them
JUDGED, BELOW, LARGE = "judged", "below the median", "too large"
JOURNAL = "journal.log"


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that networks are trained and judged by."""

    network: params.Network
    quantize: params.Quantize
    evaluate: params.Evaluate
    promotion: params.Promotion


class Folders(NamedTuple):
    """Where the pipeline's stages put what networks are trained and judged on."""

    features: Path
    streams_train: Path
    streams_val: Path


class Network(NamedTuple):
    """A network to be trained: into the folder `out`, from `seed`, with these values of params.yaml."""

    out: Path
    seed: int
    values: dict[str, Value]


Judge = Callable[[Sequence[Network]], Iterable[dict]]  # what `judged` gives, in order


def train(network: Network, folders: Folders, p: Sections) -> Path:
    """Train and quantize a network as the pipeline does, in a process of its own, unless it is there; return its path.

    It lies in model.tflite, and is whole where report.json lies beside it.

    Raises
    ------
    RuntimeError
        Its process ended, most likely for want of memory; its values are named.
    """
    path = network.out / "model.tflite"
    if not path.with_name("report.json").exists():
        seeded = {**network.values, "network.seed": network.seed}
        try:
            processes.apart(_train, folders, changed(p, seeded), path)
        except BrokenProcessPool:
            remedy = "most likely too little memory; narrow the space, and search under another name"
            raise RuntimeError(f"{seeded}: the process that trained this network ended: {remedy}") from None
    return path


def _train(folders: Folders, p: Sections, path: Path) -> None:
    from gunshot.models.network import quantize, training

    x, y, table = tables.features(folders.features, "train", ("label", "source", "recording_group"))
    x_val, y_val, _ = tables.features(folders.features, "val", ())
    chance, label = training.chances(table, p.network.real_share), training.labels(table)
    rng, few = (np.random.default_rng(section.seed) for section in (p.network, p.quantize))
    with tempfile.TemporaryDirectory() as name:
        pool = negatives.of_streams(folders.streams_train, Path(name, "pool"), p) if p.network.hard_share else {}
        model, _ = training.train(x, y, x_val, y_val, rng, p.network, label=label, chance=chance, pool=pool)
    rows = np.sort(few.permutation(len(x))[: p.quantize.representative])
    artifact = quantize.convert(quantize.fixed(model, n_frames=x.shape[2]), x[rows])
    with atomic(path) as part:
        part.write_bytes(artifact)
    logit = quantize.Tflm(artifact).logit(x_val)
    tables.write_json(path.with_name("report.json"), metrics.stated(y_val, logit, min_recall=p.evaluate.min_recall))


def judged(networks: Sequence[Network], folders: Folders, p: Sections) -> Iterator[dict]:
    """Yield the operating point of each network on validation streams, in order, and its bytes as int8.

    They are trained one after the other, while those before are judged; or each by a worker of a cluster.
    """
    table = tables.read(folders.streams_val / "streams.csv", tables.STREAM)
    with closing(processes.in_order(train, networks, folders, p, workers=1, batch=1)) as models:
        for model in models:
            path = model.with_name("validation.json")
            if not path.exists():
                counts = gathered(score_streams(table, folders.streams_val, {"int8": model}, {}, p))["counts"]
                point = operate(det(counts, table), limit=p.detector.max_false_incidents_per_hour)
                tables.write_json(path, point | {"bytes": model.stat().st_size})
            yield tables.read_json(path)


def recall(point: dict) -> float:
    """Return the share of clear shots found at an operating point, the mean over origins that have some.

    It is 0 where the point does not keep the limit: then no threshold does.

    Examples
    --------
    >>> at = {"recall": 0.5, "false_incidents_per_hour": 0.0}
    >>> point = {"false_incidents_per_hour_limit": 0.5, "validation": {"simulated": at, "real": at | {"recall": 0.7}}}
    >>> recall(point)
    0.6
    """
    origins, limit = point["validation"].values(), point["false_incidents_per_hour_limit"]
    if any(at["false_incidents_per_hour"] > limit for at in origins):
        return 0.0
    shares = [at["recall"] for at in origins if not np.isnan(at["recall"])]
    if not shares:
        raise ValueError("validation streams must hold a clear shot; raise streams.shot_hours, then `dvc repro`")
    return float(np.mean(shares))


def search(asked: Search, folder: Path, judge: Judge, p: Sections, data: dict[str, str]) -> pd.DataFrame:
    """Return the `table` of a search, which goes on in its folder where it was left, and is there as rows.csv.

    Parameters
    ----------
    data : hashes of what networks are trained and judged on, by path

    Raises
    ------
    ValueError
        Another process searches there, or what was searched there began with other params or data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), tqdm(total=asked.rows * asked.seeds, desc="search", unit="network") as bar:
        study = _opened(folder, begun(asked, p) | data)

        def counted(networks: Sequence[Network]) -> Iterator[dict]:
            for point in judge(networks):
                bar.update()
                yield point

        while (number := len(study.trials)) < asked.rows:
            bar.update(number * asked.seeds - bar.n)  # rows that ended early count whole
            start = number // asked.together * asked.together
            rows = _proposed(study.trials[:start], asked, p)[number - start : asked.rows - start]
            trials = _judge(rows, study.trials[:start], asked, folder, counted, p)
            with disk(folder / JOURNAL):
                study.add_trials(trials)
            tables.write(folder / "rows.csv", table(study.trials))
        bar.update(bar.total - bar.n)
        rows = table(study.trials)
        tables.write(folder / "rows.csv", rows)  # a kill may have come between the journal and this
        return rows


def begun(asked: Search, p: Sections) -> dict:
    """Return what must not change while a search goes on: all but its rows, and what params.yaml has for its space."""
    keys = {f"{name}.{key}": value for name, section in vars(p).items() for key, value in section.model_dump().items()}
    fixed = {key: value for key, value in keys.items() if key not in asked.space and not key.startswith("promotion.")}
    return {**fixed, "promotion.max_bytes": p.promotion.max_bytes, **asked.model_dump(exclude={"rows"})}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another `gunshot search` is at work there; wait for it, or end it") from None
        yield


def _opened(folder: Path, began: dict) -> optuna.Study:
    """Return the study in a folder's journal, new or as it was left, without what a kill cut off."""
    path = folder / JOURNAL
    if path.exists():
        Path(f"{path}.lock").unlink(missing_ok=True)  # whoever had it has ended
        whole = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(whole.rfind(b"\n") + 1)
    began = json.loads(json.dumps(began))
    with disk(path):
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)
        if "begun" not in study.user_attrs:
            study.set_user_attr("begun", began)
    before = study.user_attrs["begun"]
    if differs := [key for key in before | began if before.get(key) != began.get(key)]:
        changes = "; ".join(f"{key} was {before.get(key)} and is {began.get(key)}" for key in differs)
        raise ValueError(f"{folder}: this search began otherwise: {changes}. Undo that, or search under another name")
    return study


def _proposed(before: list[optuna.trial.FrozenTrial], asked: Search, p: Sections) -> list[optuna.Trial]:
    """Return the rows of the round after these; the very first is params.yaml as it is, where that is in the space."""
    seed = np.random.SeedSequence([asked.seed, len(before)]).generate_state(1)[0]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(seed)))
    study.add_trials(before)
    if not before and (values := present(p, asked.space)):
        study.enqueue_trial(values)
    space = {key: _distribution(key, values, p) for key, values in asked.space.items()}
    return [study.ask(space) for _ in range(asked.together)]


def _distribution(key: str, values: list[Value] | Interval, p: Sections) -> optuna.distributions.BaseDistribution:
    if not isinstance(values, Interval):
        return optuna.distributions.CategoricalDistribution(values)
    section, _, name = key.partition(".")
    whole = isinstance(getattr(getattr(p, section), name), int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(values.low, values.high, log=values.log)


def _judge(
    rows: Sequence[optuna.Trial], before: Sequence[optuna.trial.FrozenTrial], asked: Search, folder: Path,
    judge: Judge, p: Sections,
) -> list[optuna.trial.FrozenTrial]:  # fmt: skip
    """Return rows as they were judged: all by a network of the first seed, and by the others those that may be best."""
    networks = [[_network(row.params, seed, folder, p) for seed in range(asked.seeds)] for row in rows]
    points = [[point] for point in _each(judge, [some[0] for some in networks])]
    firsts = [trial.intermediate_values[0] for trial in before if trial.user_attrs["state"] == JUDGED]
    least = float(np.median(firsts)) if len(firsts) >= FEW else 0.0
    states = [
        LARGE if first["bytes"] > p.promotion.max_bytes else BELOW if recall(first) < least else JUDGED
        for (first,) in points
    ]
    kept = [i for i, state in enumerate(states) if state == JUDGED]
    rest = _each(judge, [network for i in kept for network in networks[i][1:]])
    for at, i in enumerate(kept):
        points[i] += rest[at * (asked.seeds - 1) : (at + 1) * (asked.seeds - 1)]
    return list(map(_trial, rows, states, points, networks))


def _each(judge: Judge, networks: Sequence[Network]) -> list[dict]:
    """Return the points of networks, of which each is judged once, though two rows may have the same values."""
    unique = {network.out: network for network in networks}
    points = dict(zip(unique, judge(list(unique.values())), strict=True))
    return [points[network.out] for network in networks]


def _network(values: dict[str, Value], seed: int, folder: Path, p: Sections) -> Network:
    name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
    return Network(folder / "networks" / f"{name}-{p.network.seed + seed}", p.network.seed + seed, values)


def _trial(row: optuna.Trial, state: str, points: list[dict], networks: list[Network]) -> optuna.trial.FrozenTrial:
    recalls = list(map(recall, points))
    # One that is too large is worth nothing to what proposes the next rows, however much it finds.
    worth = [0.0] if state == LARGE else recalls
    false = [max(at["false_incidents_per_hour"] for at in point["validation"].values()) for point in points]
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if state == JUDGED else optuna.trial.TrialState.PRUNED,
        value=float(np.mean(worth)),
        params=row.params, distributions=row.distributions, intermediate_values=dict(enumerate(worth)),
        user_attrs={"state": state, "recall": float(np.mean(recalls)), "recall_lowest": min(recalls),
                    "false_incidents_per_hour": float(np.mean(false)), "bytes": points[0]["bytes"],
                    "network": networks[0].out.name},
    )  # fmt: skip


def table(trials: Sequence[optuna.trial.FrozenTrial]) -> pd.DataFrame:
    """Return a row for each row of a search, the best first: its figures over its seeds, and its values of params.yaml.

    `network` is the folder of its first network in that of the search.
    """
    rows = [
        {"row": trial.number, **{key: trial.user_attrs[key] for key in ("state", "recall", "recall_lowest")},
         "seeds": len(trial.intermediate_values),
         **{key: trial.user_attrs[key] for key in ("false_incidents_per_hour", "bytes", "network")}, **trial.params}
        for trial in trials
    ]  # fmt: skip
    order = sorted(rows, key=lambda row: (row["state"] != JUDGED, -row["recall"], row["bytes"], row["row"]))
    return pd.DataFrame(order)
