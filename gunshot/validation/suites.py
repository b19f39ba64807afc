"""What must hold of the facts: each suite's expectations as data, by table of `facts`.

One expectation is (Great Expectations' class, its arguments, severity, rule in words).
"""

import math

from gunshot.base import tables
from gunshot.validation.facts import CLASSES, FieldSections, Sections

NAMES = ("raw", "tags", "chunks", "split", "features")  # in the order of the pipeline
SEVERITIES = ("critical", "warning", "info")

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
SOUNDING = 0.9  # share of the environment's chunks: places may be quiet for a while
UPRIGHT = 0.99  # share of recordings: a cheap microphone may have an offset
CURE = "look at these with `gunshot annotate`, move or delete what is no shot"


def _share(p: Sections) -> str:
    """Return in words how many of the shots must rise; a distant one may drown, and a burst's in the one before."""
    return f"{p.validation.min_impulse_share:.0%} of them (validation.min_impulse_share)"


def _pair(a: str, b: str) -> dict:
    return {"column_A": a, "column_B": b, "ignore_row_if": "either_value_is_missing"}


def raw(p: Sections) -> Suite:
    """Return what must hold of recordings, given the sections audio, quality and validation."""
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
            (BETWEEN, {"column": "sr_found", "min_value": v.min_sr_found}, "warning",
             "should have been recorded at a rate that holds a shot's band"),
            (BETWEEN, {"column": "duration_s", "min_value": p.audio.chunk_length / p.audio.sr,
                       "max_value": v.max_duration_s}, "warning",
             "should hold one chunk, and be no stream to cut up first"),
            (NOT_IN_SET, {"column": "licence", "value_set": ["", "unknown"]}, "warning", "should name its licence"),
            (BETWEEN, {"column": "peak_db", "min_value": q.silence_db}, "critical", "must not be silent"),
            (BETWEEN, {"column": "clipped", "max_value": q.max_clipped}, "critical", "must not be all clipped"),
            (BETWEEN, {"column": "dc_offset", "max_value": v.max_dc_offset, "mostly": UPRIGHT}, "warning",
             f"should have no DC offset: {UPRIGHT:.0%} of them"),
        ],
        "classes": [
            (BETWEEN, {"column": "recordings", "min_value": 1}, "critical", "must have recordings"),
            (BETWEEN, {"column": "groups", "min_value": v.min_groups}, "critical",
             "must have enough recording groups to split; where names do not tell sessions apart, a manifest.csv does"),
            (BETWEEN, {"column": "share", "max_value": v.max_class_share}, "critical",
             "must leave recordings to the other class"),
        ],
    }  # fmt: skip


def chunks(p: Sections) -> Suite:
    """Return what must hold of chunks, given the sections audio, quality and validation."""
    length, silence_db, v, share = p.audio.chunk_length, p.quality.silence_db, p.validation, _share(p)
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
            (BETWEEN, {"column": "rise_db", "min_value": v.min_gun_rise_db, "mostly": v.min_impulse_share}, "critical",
             f"must hold an impulse, energy that rises at the onset: {share}; {CURE}"),
            (BETWEEN, {"column": "crest_db", "min_value": v.min_gun_crest_db, "mostly": v.min_impulse_share}, "warning",
             "should hold an impulse: a peak above the chunk's RMS"),
        ],
        "env": [
            (IN_SET, {"column": "onset", "value_set": [-1]}, "critical", "must have no onset"),
            (BETWEEN, {"column": "peak_db", "min_value": silence_db, "mostly": SOUNDING}, "warning",
             f"should not be silent: {SOUNDING:.0%} of them"),
        ],
        "classes": [
            (BETWEEN, {"column": "chunks", "min_value": 1}, "critical", "must have chunks"),
        ],
    }  # fmt: skip


def tagged(p: Sections) -> Suite:
    """Return what must hold of tagged recordings, given the sections quality and validation."""
    v = p.validation
    return {
        "lines": [
            (UNIQUE, {"column": "file"}, "critical", "must be one line a recording"),
            (IN_SET, {"column": "class", "value_set": ["gun"]}, "critical", "must be of a listed gun recording"),
        ],
        "tags": [
            (NULL, {"column": "problem"}, "critical", "must be a start in a readable recording"),
            (BETWEEN, {"column": "left", "min_value": 1}, "critical", "must start inside its recording"),
            (BETWEEN, {"column": "interval_ms", "min_value": 0, "strict_min": True}, "critical",
             "must ascend, each start once"),
            (BETWEEN, {"column": "interval_ms", "min_value": v.min_tag_interval_ms, "mostly": 1.0}, "warning",
             "should be no second tag of the shot before"),
            (BETWEEN, {"column": "peak_db", "min_value": p.quality.silence_db}, "critical", "must not be in silence"),
            (BETWEEN, {"column": "rise_db", "min_value": v.min_gun_rise_db, "mostly": v.min_impulse_share}, "critical",
             f"must be where energy rises: {_share(p)}; {CURE}"),
        ],
        "gun": [
            (BETWEEN, {"column": "told", "min_value": 1}, "critical", "must have a tag or be listed as rejected"),
            (IN_SET, {"column": "tagged", "value_set": ["given", "automatic"]}, "critical",
             "must say where its tags come from"),
            (BETWEEN, {"column": "tags_per_s", "max_value": v.max_tags_per_s}, "warning",
             "should have no more tags than a weapon has shots"),
        ],
        "env": [
            (IN_SET, {"column": "tagged", "value_set": ["none"]}, "critical", "must have no tag"),
        ],
        "corpus": [
            (BETWEEN, {"column": "automatic", "max_value": v.max_automatic}, "info",
             "would gain from tags that a person has confirmed; see `gunshot tag`"),
        ],
    }  # fmt: skip


def split(p: Sections) -> Suite:
    """Return what must hold of the split, given the section validation."""
    return {
        "groups": [
            (IN_SET, {"column": "sides", "value_set": list(tables.SIDES)}, "critical",
             "must be on exactly one known side"),
        ],
        "pairs": [
            (IN_SET, {"column": "sides", "value_set": list(tables.SIDES)}, "critical",
             "must be on one side: they hold the same sound"),
        ],
        "parts": [
            (BETWEEN, {"column": "chunks", "min_value": 1}, "critical", "must have chunks: each class on each side"),
        ],
        "sides": [
            (BETWEEN, {"column": "share_error", "max_value": p.validation.max_split_error}, "warning",
             "should be near the share of chunks that the section splits plans"),
        ],
    }  # fmt: skip


def features(p: Sections) -> Suite:
    """Return what must hold of log-mel features, given the sections features and context."""
    f = p.features
    return {
        "sides": [
            (BETWEEN, {"column": "features", "min_value": 1}, "critical", "must have features"),
            (EQUAL, _pair("features", "rows"), "critical", "must have one feature for each row of its table"),
            (IN_SET, {"column": "layout", "value_set": [f"float32 n x {f.n_mels} x {p.context.frames}"]}, "critical",
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
            (NOT_MATCH, {"column": "chunk", "regex": tables.COPY}, "critical",
             "must not be augmented: only training is"),
        ],
        "groups": [
            (IN_SET, {"column": "sides", "value_set": list(tables.SIDES)}, "critical", "must be on one side only"),
        ],
        "bands": [
            (BETWEEN, {"column": "range_db", "min_value": 0, "strict_min": True}, "warning",
             "should vary over the training split"),
        ],
    }  # fmt: skip


def field(p: FieldSections) -> Suite:
    """Return what must hold of a batch of devices' recordings, given the sections quality and validation.

    One malformed recording is no more than a warning: it is left out and listed.
    """
    q = p.quality
    return {
        "recordings": [
            (NULL, {"column": "problem"}, "warning", "should be audio that can be read, and hold one chunk"),
            (BETWEEN, {"column": "peak_db", "min_value": q.silence_db}, "warning", "should not be silent"),
            (BETWEEN, {"column": "clipped", "max_value": q.max_clipped}, "warning", "should not be all clipped"),
            (BETWEEN, {"column": "dc_offset", "max_value": p.validation.max_dc_offset}, "warning",
             "should have no DC offset"),
        ],
        "batch": [
            (BETWEEN, {"column": "readable", "min_value": 1}, "critical", "must hold a recording that can be read"),
        ],
    }  # fmt: skip
