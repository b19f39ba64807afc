"""What must hold of the facts: each suite's expectations as data, by table of `facts`.

One expectation is (Great Expectations' class, its arguments, severity, rule in words).
"""

import math
from types import SimpleNamespace

from gunshot.validation.facts import CLASSES, SIDES

Suite = dict[str, list[tuple[str, dict, str, str]]]

NULL = "ExpectColumnValuesToBeNull"
BETWEEN = "ExpectColumnValuesToBeBetween"
IN_SET = "ExpectColumnValuesToBeInSet"
NOT_IN_SET = "ExpectColumnValuesToNotBeInSet"
UNIQUE = "ExpectColumnValuesToBeUnique"
MATCH = "ExpectColumnValuesToMatchRegex"
NOT_MATCH = "ExpectColumnValuesToNotMatchRegex"
EQUAL = "ExpectColumnPairValuesToBeEqual"

DURATION_ERROR_S = 0.001
MAX_DB = 40.0  # above the log-mel of a sine at full scale, with room for other n_fft
ROUNDING_DB = 0.01


def _pair(a: str, b: str) -> dict:
    return {"column_A": a, "column_B": b, "ignore_row_if": "either_value_is_missing"}


def raw(p: SimpleNamespace) -> Suite:
    """Return what must hold of recordings, given the sections quality and validation."""
    q, v = p.quality, p.validation
    return {
        "recordings": [
            (NULL, {"column": "problem"}, "critical",
             "must be listed, on disk and a whole mono 16-bit wav at audio.sr; use `gunshot import`"),
            (UNIQUE, {"column": "path"}, "critical", "must be listed once"),
            (UNIQUE, {"column": "sha256"}, "critical", "must not be a duplicate of another recording"),
            (EQUAL, _pair("sha256", "sha256_found"), "critical", "must hold the samples that were imported"),
            (BETWEEN, {"column": "duration_error_s", "max_value": DURATION_ERROR_S}, "critical",
             "must be as long as its table says"),
            (IN_SET, {"column": "class", "value_set": list(CLASSES)}, "critical", "must be gun or env"),
            (MATCH, {"column": "recording_group", "regex": r"\S"}, "critical", "must name its recording group"),
            (MATCH, {"column": "source", "regex": r"\S"}, "critical", "must name its source"),
            (NOT_IN_SET, {"column": "licence", "value_set": ["", "unknown"]}, "warning", "should name its licence"),
            (BETWEEN, {"column": "peak_db", "min_value": q.silence_db}, "critical", "must not be silent"),
            (BETWEEN, {"column": "clipped", "max_value": q.max_clipped}, "critical", "must not be all clipped"),
            (BETWEEN, {"column": "dc_offset", "max_value": v.max_dc_offset}, "warning", "should have no DC offset"),
        ],
        "classes": [
            (BETWEEN, {"column": "recordings", "min_value": 1}, "critical", "must have recordings"),
            (BETWEEN, {"column": "groups", "min_value": v.min_groups}, "critical",
             "must have enough recording groups to split"),
            (BETWEEN, {"column": "share", "max_value": v.max_class_share}, "critical",
             "must leave recordings to the other class"),
        ],
    }  # fmt: skip


def chunks(p: SimpleNamespace) -> Suite:
    """Return what must hold of chunks, given the sections audio, quality and validation."""
    length, silence_db = p.audio.chunk_length, p.quality.silence_db
    return {
        "chunks": [
            (NULL, {"column": "problem"}, "critical", "must be in its packed wav"),
            (UNIQUE, {"column": "chunk"}, "critical", "must have an id of its own"),
            (BETWEEN, {"column": "start", "min_value": 0}, "critical", "must start in its recording"),
            (IN_SET, {"column": "class", "value_set": list(CLASSES)}, "critical", "must be gun or env"),
        ],
        "gun": [
            (BETWEEN, {"column": "onset", "min_value": 0, "max_value": length - 1}, "critical",
             "must hold the onset of its shot"),
            (BETWEEN, {"column": "peak_db", "min_value": silence_db}, "critical", "must not be silent"),
            (BETWEEN, {"column": "crest_db", "min_value": p.validation.min_gun_crest_db, "mostly": 0.95}, "warning",
             "should hold an impulse"),
        ],
        "env": [
            (IN_SET, {"column": "onset", "value_set": [-1]}, "critical", "must have no onset"),
            (BETWEEN, {"column": "peak_db", "min_value": silence_db}, "warning", "should not be silent"),
        ],
        "classes": [
            (BETWEEN, {"column": "chunks", "min_value": 1}, "critical", "must have chunks"),
        ],
    }  # fmt: skip


def split(p: SimpleNamespace) -> Suite:
    """Return what must hold of the split, given the section validation."""
    return {
        "groups": [
            (IN_SET, {"column": "sides", "value_set": list(SIDES)}, "critical", "must be on exactly one known side"),
        ],
        "parts": [
            (BETWEEN, {"column": "chunks", "min_value": 1}, "critical", "must have chunks: each class on each side"),
        ],
        "sides": [
            (BETWEEN, {"column": "share_error", "max_value": p.validation.max_split_error}, "warning",
             "should be near the share of chunks that the section splits plans"),
        ],
    }  # fmt: skip


def features(p: SimpleNamespace) -> Suite:
    """Return what must hold of log-mel features, given the sections audio and features."""
    f = p.features
    frames = 1 + (p.audio.chunk_length - f.n_fft) // f.hop_length
    return {
        "sides": [
            (BETWEEN, {"column": "features", "min_value": 1}, "critical", "must have features"),
            (EQUAL, _pair("features", "rows"), "critical", "must have one feature for each row of its table"),
            (IN_SET, {"column": "layout", "value_set": [f"float32 n x {f.n_mels} x {frames}"]}, "critical",
             "must be float32 with shape (n, n_mels, frames)"),
        ],
        "chunks": [
            (UNIQUE, {"column": "chunk"}, "critical", "must be there once, on one side"),
            (IN_SET, {"column": "class", "value_set": list(CLASSES)}, "critical", "must be gun or env"),
            (BETWEEN, {"column": "not_finite", "max_value": 0}, "critical", "must have finite values alone"),
            (BETWEEN, {"column": "min_db", "min_value": 10 * math.log10(f.amin) - ROUNDING_DB}, "critical",
             "must not be below the floor that features.amin sets"),
            (BETWEEN, {"column": "max_db", "max_value": MAX_DB}, "critical", "must be no louder than full scale"),
        ],
        "held_out": [
            (NOT_MATCH, {"column": "chunk", "regex": "~"}, "critical", "must not be augmented: only training is"),
        ],
        "groups": [
            (IN_SET, {"column": "sides", "value_set": list(SIDES)}, "critical", "must be on one side only"),
        ],
        "bands": [
            (BETWEEN, {"column": "range_db", "min_value": 0, "strict_min": True}, "warning",
             "should vary over the training split"),
        ],
    }  # fmt: skip
