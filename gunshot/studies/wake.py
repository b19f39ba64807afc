"""What an acoustic wake-up saves and costs: windows that it skips where a device may hang, and shots that it loses."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.alarms import score
from gunshot.base import audio, params, processes, tables
from gunshot.detect import detector, listener
from gunshot.device import cost as instructions
from gunshot.device import energy, parity, wake
from gunshot.models.model import Model, import_libraries, load_once, read_operating_point
from gunshot.models.scores import metrics
from gunshot.studies import recordings
from gunshot.studies.incidents import PLACE_S

COUNTED = ("windows", "scored", "frames", "computed", "heard")
STILL_S = 10.0  # of faint noise, in which nothing rises: what a device computes while it sleeps
STILL = 20.0  # its standard deviation, in steps of int16


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that a wake-up is measured by."""

    quality: params.Quality


def asleep(
    pcm: np.ndarray, model: Model, s: detector.Settings, p: listener.Sections, *, db: int, cut: bool
) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Return the counts of COUNTED in int16 samples, the shots of a detector that never sleeps, and of one that does.

    Parameters
    ----------
    cut : the samples may begin at their shot: what sounded before counts as their own quiet, for the rises too, and
        they go on until all was heard; else it begins as a device does
    """
    f = p.features
    log_mel = features.log_mel(pcm, sr=p.audio.sr, **f.model_dump())
    still = features.quiet(log_mel, 1) if cut else log_mel[:, :1]
    tail = np.repeat(log_mel[:, -1:], s.tail if cut else 0, axis=1)
    heard = np.concatenate([np.repeat(still, s.lead, axis=1), log_mel], axis=1)
    rise = detector.rise(model.codes(np.concatenate([np.repeat(still, detector.PAST, axis=1), heard], axis=1)))
    rise = np.concatenate([rise, np.zeros((tail.shape[1], detector.GROUPS), rise.dtype)])
    logits = model.window_logits(np.concatenate([heard, tail], axis=1), hop=s.hop)
    risen = wake.rises(_in_quiet(pcm, f.hop_length) if cut else pcm, hop_length=f.hop_length, db=db)
    wants = wake.wanted(risen[int(cut) :], len(logits), s, n_fft=f.n_fft, hop_length=f.hop_length)
    shots, scored = wake.decide(rise, logits, wants, s)
    spent = wake.cost(scored, s)
    numbers = (len(logits), int(scored.sum()), log_mel.shape[1], spent["frames"], spent["windows"])
    return dict(zip(COUNTED, numbers, strict=True)), detector.Detector(s).push(rise, logits), shots


def _in_quiet(pcm: np.ndarray, hop_length: int) -> np.ndarray:
    """Return samples after a hop of their own that is louder than a tenth of them are: there the slow mean begins."""
    hops = pcm[: len(pcm) // hop_length * hop_length].reshape(-1, hop_length)
    order = np.argsort((hops.astype(np.int64) ** 2).sum(axis=1), kind="stable")
    return np.concatenate([hops[order[len(order) // 10]], pcm])


def of_stream(row: dict, folder: Path, path: Path, logit: float, db: int, p: listener.Sections) -> dict:
    """Return a simulated stream's counts, `place` and `kind`, and its `shots`, those found `awake`, of these `asleep`.

    Parameters
    ----------
    row : of tables.STREAM, in `folder`
    path, logit : the model and its operating point
    """
    model, pcm = load_once(path), audio.read_pcm(folder / row["path"], sr=p.audio.sr)
    ear = listener.Listener(model, [logit], p)
    counts, *heard = asleep(pcm, model, listener.settings(model, p, logit=logit), p, db=db, cut=False)
    shots = tables.read(folder / "shots.csv", tables.STREAM_SHOT)
    shots = shots[shots["path"] == row["path"]]
    first_s, blast_s = (shots[name].to_numpy() / p.audio.sr for name in ("onset", "blast"))
    awake, slept = (
        score.matched(ear.times(each)[0], first_s, blast_s, collar_s=p.detector.collar_s)[0][:, 0] for each in heard
    )
    about = {"place": row["place"], "kind": row["kind"], "duration_s": len(pcm) / p.audio.sr, "shots": len(shots)}
    return about | counts | {"awake": len(awake), "asleep": len(np.intersect1d(awake, slept))}


def of_file(source: dict, path: Path, logit: float, db: int, p: listener.Sections) -> tuple[dict | None, list[dict]]:
    """Return a recording's counts, class and label, whether it raises an incident `awake` and `asleep`; and rejections.

    Parameters
    ----------
    source : of `recordings.sources`
    path, logit : the model and its operating point
    """
    model = load_once(path)
    try:
        blocks = audio.blocks(Path(source["file"]), sr=p.audio.sr, repair=True)
        pcm = np.concatenate([audio.to_int16(block) for block in blocks])
    except audio.AudioError as e:
        return None, [{"file": e.path, "value": e.value, "rule": e.rule}]
    pcm = np.pad(pcm, (0, max(0, p.features.n_fft - len(pcm))))
    counts, *heard = asleep(pcm, model, listener.settings(model, p, logit=logit), p, db=db, cut=True)
    about = {"y": int(source["class"] == "gun"), "place": source["label"], "duration_s": len(pcm) / p.audio.sr}
    return about | counts | {name: bool(len(each)) for name, each in zip(("awake", "asleep"), heard, strict=True)}, []


def streams(folders: list[Path], path: Path, p: Sections, *, db: int, workers: int = 2) -> pd.DataFrame:
    """Return the rows of `of_stream` of all simulated streams in folders that the stages `streams` made."""
    logit, parts = read_operating_point(path)["logit"], []
    import_libraries([path])
    for folder in folders:
        listed = tables.read(folder / "streams.csv", tables.STREAM).query("origin == 'simulated'").to_dict("records")
        heard = processes.in_order(of_stream, listed, folder, path, logit, db, p, workers=workers, batch=1)
        parts += tqdm(heard, total=len(listed), desc=folder.name, unit="stream")
    return pd.DataFrame(parts)


def files(folders: list[Path], path: Path, p: Sections, *, db: int, workers: int = 2) -> pd.DataFrame:
    """Return the rows of `of_file` of labelled folders of any layout.

    Raises
    ------
    ValueError
        More files were rejected than quality.max_rejected allows.
    """
    listed, rejected = recordings.sources(folders)
    logit, rows = read_operating_point(path)["logit"], []
    heard = processes.in_order(of_file, listed, path, logit, db, p, workers=workers, batch=4)
    for row, bad in tqdm(heard, total=len(listed), desc="files", unit="file"):
        rows += [row] if row else []
        rejected += bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.check_rejected(refused, len(listed), limit=p.quality.max_rejected, where="this message")
    return pd.DataFrame(rows)


def counted(awake: Path, sleeper: Path, model: Model, p: listener.Sections, *, db: int) -> dict[str, int]:
    """Return instructions on `energy.BOARD`: `never_sleeps`, a second; `always`, a second asleep; `frame`; `window`.

    `frame` is of one that is computed, `window` of one that the model hears, with all that comes with it.

    Parameters
    ----------
    awake, sleeper : folders of programs, see `emulator.build`
    """
    pcm = parity.recording(sr=p.audio.sr)
    quiet = np.random.default_rng(0).normal(0, STILL, round(STILL_S * p.audio.sr)).astype(np.int16)
    full, slept, still = (
        parity.trace(programs, energy.BOARD, sound, p).counts
        for programs, sound in ((awake, pcm), (sleeper, pcm), (sleeper, quiet))
    )
    if still["windows"]:
        raise ValueError(f"windows={still['windows']} must be 0 in steady noise: db={db} is too little")
    s = listener.settings(model, p, logit=model.threshold())
    heard = asleep(pcm, model, s, p, db=db, cut=False)[0]["heard"]
    always, frame = still["total"] / STILL_S, slept["features"] / slept["frames"]
    rest = slept["total"] - always * parity.DURATION_S - frame * slept["frames"]
    window_s = p.detector.hop * p.features.hop_length / p.audio.sr
    awake_s = instructions.instructions(full, hop=p.detector.hop)["total"] / window_s
    numbers = {"never_sleeps": awake_s, "always": always, "frame": frame, "window": rest / heard}
    return {name: round(value) for name, value in numbers.items()}


def saved(rows: pd.DataFrame, spent: dict[str, int], *, where: str) -> dict:
    """Return what a device that sleeps saves in rows of sound.

    `skipped` of the windows are not scored, `computed` of the frames are, `instructions` of a second are executed,
    `all_ma` is the mean current of the whole device, reckoned, for the least and the most cycles an instruction.

    Parameters
    ----------
    spent : of `counted`
    """
    total, seconds = rows[list(COUNTED)].sum(), float(rows["duration_s"].sum())
    a_second = spent["always"] + (spent["frame"] * total["computed"] + spent["window"] * total["heard"]) / seconds
    drawn = energy.reckon(round(a_second), window_s=1.0)
    return {
        "where": where,
        "minutes": round(seconds / 60, 1),
        "skipped": 1 - float(total["scored"] / total["windows"]),
        "computed": float(total["computed"] / total["frames"]),
        "instructions": round(a_second),
        "all_ma": {name: drawn[name]["all_ma"] for name in ("least", "most")},
    }


def each(rows: pd.DataFrame, spent: dict[str, int], *, where: str) -> list[dict]:
    """Return `saved` of all rows, and of each place among them, the most minutes first; nothing of no row."""
    parts = [saved(part, spent, where=place) for place, part in rows.groupby("place")]
    return [saved(rows, spent, where=where), *sorted(parts, key=lambda row: -row["minutes"])] if len(rows) else []


def summed(on_streams: pd.DataFrame, on_files: pd.DataFrame, spent: dict[str, int]) -> dict:
    """Return what reports/wake.json says: `simulated` and `places` as `each`, `hard` as `saved`, and what is `lost`."""
    quiet = on_streams[on_streams["kind"] == "quiet"]
    out = {"simulated": each(quiet, spent, where="simulated"), "places": [], "hard": []}
    lost = _lost(on_streams["awake"].sum(), on_streams["asleep"].sum())
    out["lost"] = {"simulated": lost | {"shots": int(on_streams["shots"].sum())}}
    if len(on_files):
        env, gun = on_files[on_files["y"] == 0], on_files[on_files["y"] == 1]
        long = env["duration_s"] >= PLACE_S
        out["places"] = each(env[long], spent, where="places")
        out["hard"] = [saved(env[~long], spent, where="hard")] if (~long).any() else []
        both = gun["awake"] & gun["asleep"]
        out["lost"]["files"] = _lost(gun["awake"].sum(), both.sum()) | {"files": len(gun)}
    return out


def _lost(awake: int, asleep: int) -> dict[str, int | float | None]:
    """Return how many are found awake, of these asleep, and the upper bound of 95 % of the share that sleep loses."""
    upper = 1 - metrics.share_lower(int(asleep), int(awake)) if awake else None
    return {"awake": int(awake), "asleep": int(asleep), "share_upper": upper}
