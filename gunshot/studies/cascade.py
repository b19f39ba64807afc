"""The cascade on recordings that neither the detector nor the verifier was trained or tuned on."""

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm import tqdm

from gunshot import features
from gunshot.base import audio, params, processes, tables
from gunshot.detect import detector, opinion
from gunshot.detect.listener import Listener
from gunshot.models.model import import_libraries, load_once, read_operating_point
from gunshot.models.scores import metrics
from gunshot.studies import opinions, recordings
from gunshot.studies.incidents import PLACE_S

RECALL = 0.9  # of files with shots: what the detector alone finds at the lower of the two thresholds
GRID = np.arange(-6.0, 6.01, 0.25)  # mean logits among which that threshold is sought


class Sections(opinion.Sections, Protocol):
    """The sections of params.yaml that a cascade is measured by."""

    quality: params.Quality


def hear(
    source: dict, model: Path, verifier: Path, logits: list[float], p: Sections
) -> tuple[dict | None, list[dict], list[dict]]:
    """Return a recording's row, a row for each incident at each mean logit, and rows of tables.REJECTED.

    It is heard after quiet of its own, as `gunshot incidents` hears it.
    """
    file, mel = Path(source["file"]), {"sr": p.audio.sr, **p.features.model_dump()}
    try:
        pcm = np.concatenate([audio.to_int16(part) for part in audio.blocks(file, sr=p.audio.sr, repair=True)])
    except audio.AudioError as e:
        return None, [], [{"file": e.path, "value": e.value, "rule": e.rule}]
    digest = audio.sha256(pcm)
    pcm = np.pad(pcm, (0, max(0, p.features.n_fft - len(pcm))))
    ear = Listener(load_once(model), logits, p, before=features.quiet(features.log_mel(pcm, **mel), 1))
    row = {"file": str(file), "gun": source["class"] == "gun", "label": source["label"],
           "recording_group": source["recording_group"], "duration_s": len(pcm) / p.audio.sr,
           "sha256": digest}  # fmt: skip
    rows = []
    for logit, (shots, best, said) in zip(logits, opinions.incidents(pcm, ear, verifier, p), strict=True):
        number = shots[best, detector.WHICH].tolist()
        rows += [{"file": str(file), "logit": logit, "incident": which, "opinion": value}
                 for which, value in zip(number, said.tolist(), strict=True)]  # fmt: skip
    return row, rows, []


def imported(raw: Path) -> dict[str, str]:
    """Return the recordings of all corpora below data/raw, which models are trained on: by SHA-256 their paths."""
    listed = [tables.read(file, tables.RECORDING) for file in sorted(raw.glob("*/recordings.csv"))]
    return {digest: path for table in listed for digest, path in zip(table["sha256"], table["path"], strict=True)}


def on_recordings(
    folders: list[Path],
    model: Path,
    verifier: Path,
    logits: list[float],
    p: Sections,
    *,
    known: dict[str, str] | None = None,
    workers: int = 2,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `hear`: of labelled recordings, of any layout, and of the incidents in them.

    Parameters
    ----------
    known : what `imported` gives

    Raises
    ------
    ValueError
        A recording is one that was imported, more files were rejected than quality.max_rejected allows, or no
        recording has a shot.
    """
    listed, rejected = recordings.sources(folders)
    files, rows = [], []
    import_libraries([model, verifier])
    heard = processes.in_order(hear, listed, model, verifier, logits, p, workers=workers, batch=4)
    for file, more, bad in tqdm(heard, total=len(listed), desc="cascade", unit="file"):
        if file and (same := (known or {}).get(file["sha256"])):
            raise ValueError(f"{file['file']}: it was imported as {same}, for training: leave it out of this folder")
        files, rows, rejected = files + ([file] if file else []), rows + more, rejected + bad
    refused = tables.frame(rejected, tables.REJECTED)
    tables.check_rejected(refused, len(listed), limit=p.quality.max_rejected, where="this message")
    if not any(file["gun"] for file in files):
        raise ValueError(f"{', '.join(map(str, folders))}: no recording with shots; recall needs at least one")
    columns = {"file": str, "logit": float, "incident": int, "opinion": float}
    return pd.DataFrame(files), tables.frame(rows, columns)


def recalling(files: pd.DataFrame, rows: pd.DataFrame, *, share: float = RECALL) -> float | None:
    """Return the highest mean logit at which the detector alone has an incident in a share of the files with shots.

    None where it has not at any.
    """
    gun = files["file"][files["gun"]]
    raised = rows[rows["file"].isin(set(gun))].groupby("logit")["file"].nunique()
    enough = raised.index[raised >= share * len(gun)]
    return float(enough.max()) if len(enough) else None


def figures(files: pd.DataFrame, rows: pd.DataFrame, *, opinion: float) -> dict:
    """Return the recall of files and false incidents an hour at one mean logit, of the detector alone and the cascade.

    Places are recordings without a shot of PLACE_S and more, hard negatives are shorter ones, end to end.

    Parameters
    ----------
    files, rows : of `hear`; the rows of one mean logit
    opinion : the verifier's logit from which on it upholds an incident
    """
    upheld = rows[rows["opinion"] >= opinion]
    gun = set(files["file"][files["gun"]])
    hits, kept = (part["file"][part["file"].isin(gun)].nunique() for part in (rows, upheld))
    out = {
        "files_with_shots": len(gun), "found": hits, "recall": hits / len(gun),
        "recall_interval": metrics.share_interval(hits, len(gun)), "upheld": kept, "cascade_recall": kept / len(gun),
        "cascade_recall_interval": metrics.share_interval(kept, len(gun)), "recall_lost": (hits - kept) / len(gun),
    }  # fmt: skip
    env = files[~files["gun"]]
    long = env["duration_s"] >= PLACE_S
    for name, part in (("places", env[long]), ("hard", env[~long])):
        hours, own = float(part["duration_s"].sum() / 3600), set(part["file"])
        before, after = (int(each["file"].isin(own).sum()) for each in (rows, upheld))
        rates = {"detector": before, "cascade": after}
        out[name] = {"hours": hours, **opinions.compared(before, after)} | {
            f"{key}_{what}": value
            for key, n in rates.items()
            for what, value in (("per_hour", n / hours if hours else None),
                                ("per_hour_interval", metrics.rate_interval(n, hours) if hours else None))
        }  # fmt: skip
    return out


def measure(folders: list[Path], raw: Path, streams: Path, model: Path, verifier: Path, p: Sections) -> dict:
    """Return what reports/cascade.json holds: figures on test streams and on recordings, at both thresholds.

    Each figure is at the detector's operating point, and where it finds RECALL of the files with shots.

    Parameters
    ----------
    folders : labelled recordings, of any layout, none of which is in `raw`, the folder of all corpora
    streams : the folder of test streams

    Raises
    ------
    FileNotFoundError, ValueError
        As for `opinion.load`, before anything is heard; or as for `on_recordings`.
    """
    opinion.load(verifier, model, p)
    point, threshold = (read_operating_point(path)["logit"] for path in (model, verifier))
    files, rows = on_recordings(folders, model, verifier, sorted({*GRID.tolist(), point}), p, known=imported(raw))
    logits = {"operating_point": point, "recall_90": recalling(files, rows)}
    logits = {name: logit for name, logit in logits.items() if logit is not None}
    simulated, totals = opinions.on_streams(streams, model, verifier, sorted(set(logits.values())), p)
    hashes = {"detector_sha256": opinion.sha256(model), "verifier_sha256": opinion.sha256(verifier)}
    out = {**hashes, "verifier_logit": threshold, "place_s": PLACE_S}
    for name, logit in logits.items():
        out[name] = {
            "detector_logit": logit,
            "detector_score": float(load_once(model).calibrated(np.float64(logit))),
            "recordings": figures(files, rows[rows["logit"] == logit], opinion=threshold),
            "simulated": opinions.figures(simulated[simulated["logit"] == logit], totals, opinion=threshold),
        }
    return out
