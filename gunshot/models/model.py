"""A model of any kind behind one interface: logits of chunks, and of the windows of a stream at a hop."""

import importlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from gunshot import features
from gunshot.base import tables
from gunshot.models.scores import calibration

SUFFIXES = (".tflite", ".keras", ".joblib")
BLOCK = 4096  # windows that are scored at once: memory stays bounded
ANEW = "make it anew with `dvc repro`, or get the model's with `dvc pull`"


@dataclass(frozen=True)
class Model:
    """A trained model.

    `logit` takes log-mels [shape=(n, n_mels, n_frames)] in dB and returns logits for GUN [shape=(n,)]. `one_pass`,
    where there is one, takes a longer log-mel [shape=(n_mels, frames)] and returns logits each `stride` frames.
    In integers a logit is counted in steps of `step`, rounded; a code is a log-mel in units of `code_db`. `window` is
    (n_mels, n_frames): what the model hears at once.

    Examples
    --------
    A model that takes what is loud for a shot:

    >>> report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    >>> model = Model(Path("loud"), report, lambda x: x.mean(axis=(1, 2)) / 10 + 5, window=(32, 33))
    >>> quiet, loud = np.full((2, 32, 33), [[[-90.0]], [[-30.0]]])
    >>> [round(float(score), 2) for score in model.score(np.stack([quiet, loud]))]
    [0.02, 0.88]
    >>> model.window_logits(np.concatenate([quiet, loud], axis=1), hop=33).tolist()
    [-64, 32]
    """

    path: Path
    report: dict
    logit: Callable[[np.ndarray], np.ndarray]
    window: tuple[int, int]
    one_pass: Callable[[np.ndarray], np.ndarray] | None = None
    stride: int = 0
    step: float = calibration.STEP
    code_db: float = features.CODE_DB
    code_zero: int = features.CODE_ZERO

    @cached_property
    def operating_point(self) -> float:
        """Return the score at which the detector opens an incident; FileNotFoundError without operating.json."""
        return opening_score(self.report, self.threshold())

    @property
    def chunk_threshold(self) -> float:
        """Return the score at which the pipeline's report decides single chunks; nothing runs with it.

        Raises
        ------
        ValueError
            The model's report has none: one that was promoted before it had this name runs all the same.
        """
        return _number(report_path(self.path), self.report, "chunk_threshold", remedy=ANEW)

    def calibrated(self, logit: np.ndarray) -> np.ndarray:
        """Return the scores, 0 to 1, of logits: the share of shots among validation chunks of the same logit."""
        return calibration.calibrated(logit, self.report["calibration"])

    def threshold(self, score: float | None = None) -> float:
        """Return the logit whose calibrated score is `score`; without one, the operating point.

        Raises
        ------
        ValueError
            The score is not above 0 and below 1.
        FileNotFoundError
            None is given, and the model has no operating.json.
        """
        if score is None:
            return read_operating_point(self.path)["logit"]
        if not 0 < score < 1:
            raise ValueError(f"threshold={score:g} must be above 0 and below 1")
        slope, intercept = (self.report["calibration"][key] for key in ("slope", "intercept"))
        return (float(calibration.logit(score, least=0.0)) - intercept) / slope

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return calibrated scores for GUN of log-mels [shape=(n, n_mels, n_frames)] in dB, float32 [shape=(n,)]."""
        blocks = (x[i : i + BLOCK] for i in range(0, max(len(x), 1), BLOCK))
        return np.concatenate([self.calibrated(self.logit(block)).astype(np.float32) for block in blocks])

    def score_of(self, logit_sum: np.ndarray, *, windows: int) -> np.ndarray:
        """Return the calibrated scores of sums of the logits, in steps, of `windows` windows, float64."""
        return self.calibrated(np.asarray(logit_sum) * self.step / windows)

    def logit_sum(self, logit: float, *, windows: int) -> int:
        """Return the least sum of the logits, in steps, of `windows` windows whose mean logit is `logit` or more.

        Of a logit that no sum reaches, or every one, it is the first beyond them: logits in steps are int16.
        """
        most = (calibration.MOST_STEPS + 1) * windows
        return int(np.clip(np.ceil(logit * windows / self.step - 1e-9), -most, most))

    def codes(self, log_mel: np.ndarray) -> np.ndarray:
        """Return a log-mel in dB as int8 codes, same shape: round half to even, then saturate."""
        return features.codes(log_mel, scale=self.code_db, zero_point=self.code_zero)

    def window_logits(self, log_mel: np.ndarray, *, hop: int) -> np.ndarray:
        """Return the logits of all windows of a log-mel [shape=(n_mels, frames)] at a hop of `hop` frames.

        They are in steps, int16 [shape=(windows,)].

        Raises
        ------
        ValueError
            The model has other bands, or the hop is no multiple of the network's stride in time.
        """
        n_mels, n_frames = self.window
        if n_mels != len(log_mel):
            raise ValueError(
                f"{self.path}: n_mels={n_mels} must be {len(log_mel)}, as features.n_mels of params.yaml is"
            )
        if self.one_pass and hop % self.stride:
            raise ValueError(f"detector.hop={hop} must be a multiple of the network's stride in time, {self.stride}")
        windows = max(0, 1 + (log_mel.shape[1] - n_frames) // hop)
        out = np.empty(windows, np.int16)
        for i in range(0, windows, BLOCK):
            count = min(BLOCK, windows - i)
            part = log_mel[:, i * hop : (i + count - 1) * hop + n_frames]
            if self.one_pass:
                logit = self.one_pass(part)[:: hop // self.stride]
            else:
                cut = np.lib.stride_tricks.sliding_window_view(part, n_frames, axis=1)[:, ::hop]
                logit = self.logit(np.moveaxis(cut, 1, 0))
            out[i : i + count] = calibration.in_steps(logit, step=self.step)
        return out

    def sweep(self, log_mel: np.ndarray, *, hop: int) -> np.ndarray:
        """Return the calibrated scores of the windows of `window_logits`, float32 [shape=(windows,)]."""
        logits = self.window_logits(log_mel, hop=hop)
        return self.score_of(logits, windows=1).astype(np.float32)


def named(names: Iterable[str], known: dict[str, Path]) -> dict[str, Path]:
    """Return the files of models by the names that a user gave: those in `known`, or paths of files.

    Raises
    ------
    ValueError
        A name is not known and is no model's file.
    """
    for name in names:
        if name not in known and (Path(name).suffix not in SUFFIXES or not Path(name).is_file()):
            raise ValueError(f"model={name!r} must be {', '.join(known)} or a file that ends in {', '.join(SUFFIXES)}")
    return {name: known.get(name, Path(name)) for name in names}


def report_path(path: Path) -> Path:
    """Return where the report of a model lies: report.json beside it, with its chunk threshold and calibration."""
    return path.with_name("report.json")


def read_operating_point(path: Path) -> dict:
    """Return a model's operating point: what operating.json beside it holds.

    Raises
    ------
    FileNotFoundError
        It is missing.
    ValueError
        It is no JSON, or its logit is no number.
    """
    operating = path.with_name("operating.json")
    if not operating.exists():
        raise FileNotFoundError(f"{operating}: no such file; make it with `dvc repro operate`, or give a threshold")
    return _stated(operating, "logit", remedy="make it anew with `dvc repro operate`")


def _stated(path: Path, *keys: str, remedy: str) -> dict:
    """Return a JSON file; ValueError, which ends in the remedy, where a key's value is missing or no finite number."""
    try:
        content = tables.read_json(path)
    except (ValueError, RecursionError) as e:  # JSON's and UTF-8's errors are ValueErrors
        raise ValueError(f"{path}: {e}: must be JSON; {remedy}") from None
    for key in keys:
        _number(path, content, key, remedy=remedy)
    return content


def _number(path: Path, content: dict, key: str, *, remedy: str) -> float:
    """Return the value of a key with dots; ValueError where it is missing or no finite number."""
    value = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    try:
        finite = not isinstance(value, bool | str) and math.isfinite(value)
    except (TypeError, OverflowError):  # None, a list; a whole number that no float holds
        finite = False
    if not finite:
        raise ValueError(f"{path}: {key}={str(value)[:40]} must be a finite number; {remedy}")
    return value


def opening_score(stated: dict, logit: float) -> float:
    """Return the score of a logit by a model's report, as precise as `Model.score`: no window that reaches it is below.

    The score of the operating point's logit is what `Model.operating_point` gives, without the model.
    """
    return float(np.float32(calibration.calibrated(np.float64(logit), stated["calibration"])))


def model_cost(stated: dict) -> dict[str, int | None]:
    """Return the bytes of flash and of arena that a model takes by its report; no arena where TFLM does not run it."""
    if "arena_bytes" in stated:
        return {"flash": stated["bytes"], "arena": stated["arena_bytes"]}
    return {"flash": stated.get("c_bytes", 4 * stated.get("parameters", 0)), "arena": None}


def read_report(path: Path) -> dict:
    """Return the report of a model, which states its calibration on the validation split.

    Raises
    ------
    FileNotFoundError
        The model or its report is missing.
    ValueError
        The report is no JSON, or one of these is no number.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model; make it with `dvc repro` or get it with `dvc pull`")
    if not report_path(path).exists():
        raise FileNotFoundError(f"{report_path(path)}: no such file; it states the model's calibration")
    stated = _stated(report_path(path), "calibration.slope", "calibration.intercept", remedy=ANEW)
    if not stated["calibration"]["slope"]:
        raise ValueError(f"{report_path(path)}: calibration.slope=0 must not be 0: all scores would be alike")
    return stated


def load_model(path: Path) -> Model:
    """Return the model in a .tflite, .keras or .joblib file.

    Raises
    ------
    FileNotFoundError
        As for `read_report`.
    ValueError
        The file is of no known kind, is cut off, damaged or another program's; or as for `read_report`.

    Examples
    --------
    >>> model = load_model(Path("models/forest/forest.joblib"))
    >>> model.score(np.full((1, 32, 33), -60, np.float32)).shape
    (1,)
    """
    stated = read_report(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: suffix={path.suffix!r} must be .tflite, .keras or .joblib")
    try:
        return _loaded(path, stated)
    except Exception as e:  # what reads these formats checks little: a cut or foreign file fails anywhere in it
        what, *_ = str(e).removeprefix(f"{path}: ").splitlines() or [""]
        cause = what if isinstance(e, ValueError) else f"{path.stat().st_size} bytes, {what or type(e).__name__}"
        raise ValueError(
            f"{path}: {cause}: must be a whole {path.suffix} model as the pipeline makes it; `dvc repro` makes, "
            "`dvc pull` gets one"
        ) from e


def _loaded(path: Path, stated: dict) -> Model:
    match path.suffix:
        case ".tflite":
            return _int8(path, stated)
        case ".keras":
            from gunshot.models.network import network

            net = network.load(path)
            return Model(
                path,
                stated,
                logit=lambda x: network.logit(net, x)[:, 0],
                window=(net.input_shape[1], network.frames_of(net)),
                one_pass=lambda x: network.logit(net, x[None])[0],
                stride=network.stride_of(net),
            )
        case _:
            from gunshot.models import forest

            trees = forest.load(path)
            return Model(path, stated, lambda x: calibration.logit(forest.score(trees, x)), window=trees.window_)


def _int8(path: Path, stated: dict) -> Model:
    from gunshot.models.int8 import Int8

    net = Int8(path.read_bytes())

    def logits(out: np.ndarray) -> np.ndarray:
        return (out[..., 0].astype(np.float32) - net.output_zero_point) * net.output_scale

    return Model(
        path,
        stated,
        logit=lambda x: logits(net.outputs(net.codes(x))),
        window=(net.n_mels, net.n_frames),
        one_pass=lambda x: logits(net.sweep(net.codes(x))),
        stride=net.stride,
        step=float(net.output_scale),
        code_db=float(net.input_scale),
        code_zero=net.input_zero_point,
    )


load_once = cache(load_model)  # once a process


def import_libraries(paths: Iterable[Path]) -> None:
    """Import what the models in these files are computed with, so that processes that are forked from now on have it.

    Each would import TensorFlow by itself, which takes longer than most of what it is wanted for.
    """
    libraries = {".tflite": "int8", ".keras": "network.network", ".joblib": "forest"}
    for suffix in sorted({path.suffix for path in paths} & libraries.keys()):
        importlib.import_module(f"gunshot.models.{libraries[suffix]}")
