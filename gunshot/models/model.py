"""A model of any kind behind one interface: logits of windows, and levels of a stream at a hop."""

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


@dataclass(frozen=True)
class Model:
    """A trained model.

    `logit` takes log-mels [shape=(n, n_mels, n_frames)] in dB and returns logits for GUN [shape=(n,)]. `one_pass`,
    where there is one, takes a longer log-mel [shape=(n_mels, frames)] and returns logits each `stride` frames.
    A level is the logit in units of `step`, rounded; a code is a log-mel in units of `code_db`. `window` is
    (n_mels, n_frames), where the file says it.
    """

    path: Path
    report: dict
    logit: Callable[[np.ndarray], np.ndarray]
    one_pass: Callable[[np.ndarray], np.ndarray] | None = None
    stride: int = 0
    step: float = calibration.STEP
    code_db: float = features.CODE_DB
    code_zero: int = features.CODE_ZERO
    window: tuple[int, int] | None = None

    @cached_property
    def operating_point(self) -> float:
        """Return the score at which the detector opens an incident; FileNotFoundError without operating.json."""
        return opening_score(self.report, self.threshold())

    @property
    def chunk_threshold(self) -> float:
        """Return the score at which the pipeline's report decides single chunks; nothing runs with it."""
        return self.report["operating_point"]

    def calibrated(self, logit: np.ndarray) -> np.ndarray:
        """Return scores, 0 to 1, of logits: the share of shots that validation chunks of such a logit hold."""
        return calibration.calibrated(logit, self.report["calibration"])

    def threshold(self, score: float | None = None) -> float:
        """Return the logit that is calibrated to a score; None: the operating point on validation streams.

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
        return self.calibrated(self.logit(x)).astype(np.float32)

    def score_of(self, level: np.ndarray, *, windows: int) -> np.ndarray:
        """Return the calibrated scores of sums of the levels of `windows` windows, float64."""
        return self.calibrated(np.asarray(level) * self.step / windows)

    def level_of(self, logit: float, *, windows: int) -> int:
        """Return the smallest sum of the levels of `windows` windows whose mean logit is at least `logit`.

        Of a logit that no level reaches, or every one, it is the first beyond them: levels are int16.
        """
        most = (calibration.MOST + 1) * windows
        return int(np.clip(np.ceil(logit * windows / self.step - 1e-9), -most, most))

    def codes(self, log_mel: np.ndarray) -> np.ndarray:
        """Return a log-mel in dB as int8 codes, same shape: round half to even, then saturate."""
        return features.codes(log_mel, scale=self.code_db, zero_point=self.code_zero)

    def levels(self, log_mel: np.ndarray, *, hop: int, n_frames: int) -> np.ndarray:
        """Return the levels of all windows of a log-mel [shape=(n_mels, frames)] at a hop of `hop` frames, int16.

        Raises
        ------
        ValueError
            The model takes windows of another shape, or the hop is no multiple of the network's stride in time.
        """
        if self.window and self.window != (len(log_mel), n_frames):
            raise ValueError(
                f"{self.path}: window={self.window} bands and frames must be {len(log_mel), n_frames}, as the sections "
                "audio and features of params.yaml have it"
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
            out[i : i + count] = calibration.levels(logit, step=self.step)
        return out

    def sweep(self, log_mel: np.ndarray, *, hop: int, n_frames: int) -> np.ndarray:
        """Return the calibrated scores of the windows of `levels`, float32 [shape=(windows,)]."""
        levels = self.levels(log_mel, hop=hop, n_frames=n_frames)
        return self.score_of(levels, windows=1).astype(np.float32)


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
    """Return where the report of a model lies: report.json beside it, with its operating_point and calibration."""
    return path.with_name("report.json")


def read_operating_point(path: Path) -> dict:
    """Return how a model is operated on streams: operating.json beside it.

    Raises
    ------
    FileNotFoundError
        It is missing.
    ValueError
        It is no JSON, or its logit is no number.
    """
    found = path.with_name("operating.json")
    if not found.exists():
        raise FileNotFoundError(f"{found}: no such file; make it with `dvc repro operate`, or give a threshold")
    return _stated(found, "logit", remedy="make it anew with `dvc repro operate`")


def _stated(path: Path, *keys: str, remedy: str) -> dict:
    """Return a JSON file; ValueError, which ends in the remedy, where a key's value is missing or no finite number."""
    try:
        content = tables.read_json(path)
    except (ValueError, RecursionError) as e:  # JSON's and UTF-8's errors are ValueErrors
        raise ValueError(f"{path}: {e}: must be JSON; {remedy}") from None
    for key in keys:
        value = content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        try:
            finite = not isinstance(value, bool | str) and math.isfinite(value)
        except (TypeError, OverflowError):  # None, a list; a whole number that no float holds
            finite = False
        if not finite:
            raise ValueError(f"{path}: {key}={str(value)[:40]} must be a finite number; {remedy}")
    return content


def opening_score(stated: dict, logit: float) -> float:
    """Return the score of a logit by a model's report, as precise as `Model.score`: no window that reaches it is below.

    The score of the operating point's logit is what `Model.operating_point` gives, without the model.
    """
    return float(np.float32(calibration.calibrated(np.float64(logit), stated["calibration"])))


def model_cost(stated: dict) -> dict[str, int | None]:
    """Return the bytes of flash that a model of such a report takes, and of arena where it is TFLM's."""
    if "arena_bytes" in stated:
        return {"flash": stated["bytes"], "arena": stated["arena_bytes"]}
    return {"flash": stated.get("c_bytes", 4 * stated.get("parameters", 0)), "arena": None}


def read_report(path: Path) -> dict:
    """Return the report of a model, which states its operating_point and calibration on the validation split.

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
        raise FileNotFoundError(f"{report_path(path)}: no such file; it states the model's operating_point")
    keys = ("operating_point", "calibration.slope", "calibration.intercept")
    stated = _stated(
        report_path(path), *keys, remedy="make it anew with `dvc repro`, or get the model's with `dvc pull`"
    )
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
                one_pass=lambda x: network.logit(net, x[None])[0],
                stride=network.stride_of(net),
            )
        case _:
            from gunshot.models import forest

            found = forest.load(path)
            return Model(path, stated, logit=lambda x: calibration.logit(forest.score(found, x)))


def _int8(path: Path, stated: dict) -> Model:
    from gunshot.models.int8 import Int8

    net = Int8(path.read_bytes())

    def logits(out: np.ndarray) -> np.ndarray:
        return (out[..., 0].astype(np.float32) - net.output_zero_point) * net.output_scale

    return Model(
        path,
        stated,
        logit=lambda x: logits(net.outputs(net.codes(x))),
        one_pass=lambda x: logits(net.sweep(net.codes(x))),
        stride=net.stride,
        step=float(net.output_scale),
        code_db=float(net.input_scale),
        code_zero=net.input_zero_point,
        window=(net.n_mels, net.n_frames),
    )


load_once = cache(load_model)  # once a process
