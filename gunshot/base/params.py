"""The only reader of params.yaml: typed, frozen sections, one for each topic."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Count = Annotated[int, pydantic.Field(ge=1)]
Seed = Annotated[int, pydantic.Field(ge=0)]
Positive = Annotated[float, pydantic.Field(gt=0)]
Range = Annotated[tuple[float, float], pydantic.Field(strict=False)]
ShareRange = Annotated[tuple[Share, Share], pydantic.Field(strict=False)]
PositiveRange = Annotated[tuple[Positive, Positive], pydantic.Field(strict=False)]


class ParamsError(ValueError):
    """A missing, misspelt or ill-typed key of params.yaml; the message names key, value and rule."""


class Section(BaseModel):
    """A flat, frozen section; unknown keys and keys of another type are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ranges_ascend(self):
        for name, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name}={list(value)} must be [low, high] with low <= high")
        return self


class Audio(Section):
    """What every recording and chunk is."""

    sr: Literal[16000]
    chunk_length: Count


class Quality(Section):
    """What a recording must be to be used."""

    silence_db: float
    max_clipped: Share
    max_rejected: Share


class Simulate(Section):
    """The default corpus."""

    seed: Seed
    preset: Literal["small", "full"]
    full: Count
    gun_recordings: Annotated[int, pydantic.Field(ge=0)]
    env_recordings: Annotated[int, pydantic.Field(ge=0)]
    duration_s: PositiveRange
    distance_m: PositiveRange
    without: list[Literal["shock", "reflections", "microphone", "negatives", "codec"]]
    workers: Count


class Field(Section):
    """Recordings that came back from devices."""

    keep_days: Positive


class Tags(Section):
    """Automatic onsets."""

    min_rise_db: Annotated[float, pydantic.Field(gt=0)]
    min_interval_ms: Annotated[float, pydantic.Field(gt=0)]


class Chunks(Section):
    """How recordings are cut."""

    seed: Seed
    draws: Count
    most: Count
    jitter: ShareRange
    env_hop: Count


class Splits(Section):
    """Shares of the sides."""

    seed: Seed
    train: Share
    val: Share
    test: Share

    @model_validator(mode="after")
    def _sum_to_one(self):
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test = {total:g} must be 1")
        return self


class Augment(Section):
    """Waveform augmentation of the training split."""

    seed: Seed
    gun_copies: Annotated[int, pydantic.Field(ge=0)]
    env_copies: Annotated[int, pydantic.Field(ge=0)]
    shift: Share
    pitch_semitones: Annotated[float, pydantic.Field(ge=0, le=12)]
    gain_db: Range
    background_share: Share
    snr_db: Range
    reverb_share: Share
    rt60_s: PositiveRange
    filter_share: Share
    lowpass_hz: PositiveRange
    highpass_hz: PositiveRange
    clip_share: Share
    clip_db: Range


class Features(Section):
    """The log-mel, as librosa names it."""

    n_fft: Count
    hop_length: Count
    n_mels: Count
    fmin: Annotated[float, pydantic.Field(ge=0)]
    fmax: Annotated[float, pydantic.Field(gt=0)]
    amin: Annotated[float, pydantic.Field(gt=0)]


class Context(Section):
    """The frames that the network hears at once."""

    frames: Count
    before: Annotated[int, pydantic.Field(ge=0)]


class Forest(Section):
    """The Random Forest; lists are the grid."""

    seed: Seed
    n_estimators: Annotated[list[Count], pydantic.Field(min_length=1)]
    max_depth: Annotated[list[Count], pydantic.Field(min_length=1)]
    min_samples_leaf: Annotated[list[Count], pydantic.Field(min_length=1)]
    max_features: Annotated[list[Share], pydantic.Field(min_length=1)]
    folds: Annotated[int, pydantic.Field(ge=2)]
    search_rows: Count
    fit_rows: Count


class Network(Section):
    """The fully convolutional network and its training."""

    seed: Seed
    width: Annotated[float, pydantic.Field(gt=0)]
    depth: Annotated[int, pydantic.Field(ge=2, le=4)]
    separable: bool
    leak: Share
    dropout: Share
    noise: Annotated[float, pydantic.Field(ge=0)]
    learning_rate: Annotated[float, pydantic.Field(gt=0)]
    batch_size: Count
    epochs: Count
    chunks: Annotated[int, pydantic.Field(ge=2)]
    label_smoothing: Share
    label_weight: Annotated[float, pydantic.Field(ge=0)]
    hard_share: Share
    real_share: Annotated[float, pydantic.Field(ge=0, lt=1)]
    mix_share: Share
    mix_snr_db: Range
    time_patch: Annotated[int, pydantic.Field(ge=0)]
    mel_patch: Annotated[int, pydantic.Field(ge=0)]
    patch_share: Share
    band_spread_db: Annotated[float, pydantic.Field(ge=0)]


class Verifier(Section):
    """The second opinion: what it hears, and how its training differs from the network's."""

    seed: Seed
    frames: Count
    before: Annotated[int, pydantic.Field(ge=0)]
    below: Annotated[float, pydantic.Field(ge=0)]
    jitter: Annotated[int, pydantic.Field(ge=0)]
    bed_share: Share
    bed_db: Range
    learning_rate: Annotated[float, pydantic.Field(gt=0)]
    epochs: Count
    chunks: Annotated[int, pydantic.Field(ge=2)]
    variants: Annotated[int, pydantic.Field(ge=0)]
    time_patch: Annotated[int, pydantic.Field(ge=0)]
    max_lost: Share

    @model_validator(mode="after")
    def _onset_is_heard(self):
        if self.before + self.jitter >= self.frames:
            raise ValueError(f"before={self.before} + jitter={self.jitter} must be below frames={self.frames}")
        return self


class Quantize(Section):
    """The representative set."""

    seed: Seed
    representative: Count


class Evaluate(Section):
    """Operating point, and evaluation by file."""

    min_recall: Share
    file_duration_s: Annotated[float, pydantic.Field(gt=0)]


class Detector(Section):
    """Windows to incidents."""

    hop: Annotated[int, pydantic.Field(ge=4, multiple_of=4)]  # the network's stride in time
    windows: Count
    hysteresis: Annotated[float, pydantic.Field(ge=0)]
    cooldown_s: Annotated[float, pydantic.Field(ge=0)]
    max_false_incidents_per_hour: Positive
    collar_s: Positive


class Firmware(Section):
    """What a device is besides its model."""

    heartbeat_s: Annotated[float, pydantic.Field(ge=1, le=604800)]  # a week
    full_scale_pa: Annotated[float, pydantic.Field(ge=0.01, le=1e5)]
    wake_db: Annotated[int, pydantic.Field(ge=0, le=60)]


class Streams(Section):
    """Long audio for false incidents per hour."""

    seed: Seed
    hours: Positive
    shot_hours: Positive
    val_share: Positive
    train_hours: Positive
    events_per_min: Positive
    stream_s: Annotated[float, pydantic.Field(ge=30)]  # a firing must fit


class Validation(Section):
    """Limits of the Great Expectations suites."""

    min_groups: Count
    max_class_share: Share
    min_sr_found: Count
    max_duration_s: Positive
    min_gun_rise_db: float
    min_gun_crest_db: float
    min_impulse_share: Share
    min_tag_interval_ms: Positive
    max_tags_per_s: Positive
    max_automatic: Share
    max_dc_offset: Share
    max_split_error: Share
    sample_rows: Count


class Promotion(Section):
    """What a candidate must keep to replace the champion."""

    alpha: Annotated[float, pydantic.Field(gt=0, lt=1)]
    min_cases: Count
    max_false_incidents_per_hour: Positive
    max_int8_drop: Share
    max_bytes: Count
    max_arena_bytes: Count
    board: str
    max_instructions: Count
    max_differing_codes: Share
    min_seeds: Annotated[int, pydantic.Field(ge=2)]
    max_seed_spread: Share
    licences: Annotated[list[str], pydantic.Field(min_length=1)]
    review_days: Positive
    auto: bool


CRON = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "day of the week": (0, 7)}


def _cron(text: str) -> str:
    """Return a schedule of cron; ValueError where a part is missing, ill-formed or out of its range."""
    parts = text.split()
    if len(parts) != len(CRON):
        raise ValueError(f"{text!r} must have {len(CRON)} parts: {', '.join(CRON)}")
    for (name, (low, high)), part in zip(CRON.items(), parts, strict=True):
        for item in part.split(","):
            match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/[1-9]\d*)?", item)
            ends = [int(end) for end in match.groups() if end] if match else [high + 1]
            if ends != sorted(ends) or not all(low <= end <= high for end in ends):
                raise ValueError(f"{text!r}: {name}={item} must be *, {low} to {high}, or a range, with /STEP or not")
    return text


class Schedule(Section):
    """When flows run by themselves, as cron's five parts, in UTC."""

    retrain: Annotated[str, pydantic.AfterValidator(_cron)]
    monitor: Annotated[str, pydantic.AfterValidator(_cron)]
    notify: str  # a notification block of Prefect's, TYPE/NAME, that tells of runs that failed; "": nobody is told


class Monitor(Section):
    """Drift of recordings from the field."""

    seed: Seed
    rows: Count
    min_distance: Positive
    min_share: Annotated[float, pydantic.Field(gt=0, le=1)]
    min_confirmed: Count


SECTIONS: dict[str, type[Section]] = {c.__name__.lower(): c for c in Section.__subclasses__()}


def _message(path: Path, section: str, error: dict) -> str:
    key = ".".join([section, *(str(part) for part in error["loc"])])
    match error["type"]:
        case "extra_forbidden":
            known = ", ".join(SECTIONS[section].model_fields)
            return f"{path}: {key}={error['input']!r} is not a known key; {section} has: {known}"
        case "missing":
            return f"{path}: {key} is missing"
        case "value_error":  # of the whole section: the rule names its key
            return f"{path}: {key}: {error['ctx']['error']}"
        case _:
            return f"{path}: {key}={error['input']!r}: {error['msg']}"


def load(*sections: str, path: Path | str = "params.yaml") -> SimpleNamespace:
    """Return the named sections as attributes: ``load("audio").audio.sr``.

    Every section of the file is checked, the named ones or not, so that a
    misspelt key is found by the first stage that runs and not by the last.

    Raises
    ------
    ParamsError
        The file, a section or a key is missing, unknown or of the wrong type.
    """
    path = Path(path)
    try:
        document = yaml.load(path.read_text(), yaml.CSafeLoader)
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; run this from the project's folder") from None
    except yaml.YAMLError as e:
        raise ParamsError(f"{path}: not YAML: {e}") from None
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: must hold sections, not {type(document).__name__}")
    problems = [
        f"{path}: section {name!r} is not known; the sections are: {', '.join(SECTIONS)}"
        for name in document
        if name not in SECTIONS
    ]
    loaded = {}
    for name, model in SECTIONS.items():
        if not isinstance(document.get(name), dict):
            problems.append(f"{path}: section {name!r} is missing or holds no keys")
            continue
        try:
            loaded[name] = model.model_validate(document[name])
        except ValidationError as e:
            problems += [_message(path, name, error) for error in e.errors()]
    if problems:
        raise ParamsError("\n".join(problems))
    return SimpleNamespace(**{name: loaded[name] for name in sections})
