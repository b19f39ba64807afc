"""The poisoned corpus: each fault is caught, by rule, severity and the name of what is at fault; good data passes."""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot import validation
from tests.stages.poison import (
    CHUNKS,
    ENV,
    GUN,
    INPUTS,
    RAW,
    ROOT,
    SPLITS,
    SR,
    TAGS,
    P,
    automatic,
    build,
    cell,
    duplicate,
    feature,
    line,
    listed_twice,
    little_training,
    many,
    mostly_env,
    no_gun,
    no_gun_in_test,
    no_test_features,
    not_audio,
    recorded,
    rewrite,
    run,
    same_chunk_on_two_sides,
    same_id_in_a_side,
    short,
    truncate,
    two_gun_groups,
    two_sides,
    unlisted,
    wav,
    white_noise,
)

pytestmark = pytest.mark.slow
ID, TRAIN_ID, TEST_ID = f"{GUN}#0", f"train/{GUN}#0", "test/mine/gun/x/18.wav#0"
NULL, IN_SET = "expect_column_values_to_be_null", "expect_column_values_to_be_in_set"
BETWEEN, UNIQUE = "expect_column_values_to_be_between", "expect_column_values_to_be_unique"
NOT_IN_SET, MATCH = "expect_column_values_to_not_be_in_set", "expect_column_values_to_match_regex"
NOT_MATCH, EQUAL = "expect_column_values_to_not_match_regex", "expect_column_pair_values_to_be_equal"
SHA = "sha256, sha256_found"


def fault(name: str, suite: str, poison: Callable[[Path], None], *expected: tuple[str, str, str, str, str]):
    """One fault; each expectation that must fail, and no other: table, name, column, severity, start of an example."""
    return pytest.param(suite, poison, expected, id=f"{suite}-{name.replace(' ', '-')}")


FAULTS = [
    fault("missing wav", "raw", lambda root: (root / "raw" / GUN).unlink(),
          ("recordings", NULL, "problem", "critical", f"{GUN}: not on disk")),
    fault("8 kHz", "raw", wav(f"raw/{GUN}", lambda y: y, sr=8000),
          ("recordings", NULL, "problem", "critical", f"{GUN}: WAV PCM_16 1 channel(s) 8000 Hz")),
    fault("stereo", "raw", wav(f"raw/{GUN}", lambda y: np.stack([y, y], axis=1)),
          ("recordings", NULL, "problem", "critical", f"{GUN}: WAV PCM_16 2 channel(s) 16000 Hz")),
    fault("truncated", "raw", truncate,
          ("recordings", NULL, "problem", "critical", f"{GUN}: header promises 16384 bytes of data, file holds 8956")),
    fault("empty", "raw", wav(f"raw/{GUN}", lambda y: y[:0]),
          ("recordings", NULL, "problem", "critical", f"{GUN}: 0 samples")),
    fault("float with NaN", "raw", lambda root: sf.write(root / "raw" / GUN, np.r_[0, np.nan, 0], SR, subtype="FLOAT"),
          ("recordings", NULL, "problem", "critical", f"{GUN}: WAV FLOAT 1 channel(s) 16000 Hz")),
    fault("not audio", "raw", not_audio, ("recordings", NULL, "problem", "critical", f"{GUN}: ")),
    fault("unlisted wav", "raw", unlisted,
          ("recordings", NULL, "problem", "critical", "mine/new.wav: no recordings.csv lists it")),
    fault("other samples", "raw", wav(f"raw/{GUN}", lambda y: y // 2),
          ("recordings", EQUAL, SHA, "critical", f"{GUN}: ")),
    fault("other duration", "raw", cell(RAW, 0, "duration_s", "0.6"),
          ("recordings", BETWEEN, "duration_error_s", "critical", f"{GUN}: 0.088")),
    fault("silent", "raw", recorded(GUN, np.zeros_like),
          ("recordings", BETWEEN, "peak_db", "critical", f"{GUN}: -96.3")),
    fault("all clipped", "raw", recorded(ENV, lambda y: np.where(y > 0, 32767, -32768).astype(np.int16)),
          ("recordings", BETWEEN, "clipped", "critical", f"{ENV}: 1")),
    fault("DC", "raw", recorded(ENV, lambda y: (y + 6554).astype(np.int16)),
          ("recordings", BETWEEN, "dc_offset", "warning", f"{ENV}: 0.20")),
    fault("duplicate", "raw", duplicate, ("recordings", UNIQUE, "sha256", "critical", f"{GUN}: ")),
    fault("listed twice", "raw", listed_twice,
          ("recordings", UNIQUE, "path", "critical", f"{GUN}: {GUN}"),
          ("recordings", UNIQUE, "sha256", "critical", f"{GUN}: ")),
    fault("misspelt class", "raw", cell(RAW, 0, "class", "gnu"),
          ("recordings", IN_SET, "class", "critical", f"{GUN}: gnu")),
    fault("no class", "raw", no_gun,
          ("classes", BETWEEN, "recordings", "critical", "gun: 0"),
          ("classes", BETWEEN, "groups", "critical", "gun: 0"),
          ("classes", BETWEEN, "share", "critical", "env: 1")),
    fault("too few groups", "raw", two_gun_groups, ("classes", BETWEEN, "groups", "critical", "gun: 2")),
    fault("mostly env", "raw", mostly_env, ("classes", BETWEEN, "share", "critical", "env: 0.963")),
    fault("no group", "raw", cell(RAW, 0, "recording_group", ""),
          ("recordings", MATCH, "recording_group", "critical", f"{GUN}: ")),
    fault("no source", "raw", cell(RAW, 0, "source", ""), ("recordings", MATCH, "source", "critical", f"{GUN}: ")),
    fault("no licence", "raw", cell(RAW, 0, "licence", ""), ("recordings", NOT_IN_SET, "licence", "warning", GUN)),
    fault("unknown licence", "raw", cell(RAW, 0, "licence", "unknown"),
          ("recordings", NOT_IN_SET, "licence", "warning", f"{GUN}: unknown")),
    fault("8 kHz and less before", "raw", cell(RAW, 0, "sr_found", "4000"),
          ("recordings", BETWEEN, "sr_found", "warning", f"{GUN}: 4000")),
    fault("shorter than a chunk", "raw", short,
          ("recordings", BETWEEN, "duration_s", "warning", f"{GUN}: 0.0625")),
    fault("no tag", "tags", line(""), ("gun", BETWEEN, "told", "critical", f"{GUN}: 0")),
    fault("two lines", "tags", lambda root: (root / TAGS).write_text((root / TAGS).read_text() + f"{GUN},1000\n"),
          ("lines", UNIQUE, "file", "critical", f"{GUN}: {GUN}")),
    fault("outside", "tags", line("1000,8192"), ("tags", BETWEEN, "left", "critical", f"{GUN}#8192: 0")),
    fault("env recording", "tags", line("500", ENV),
          ("lines", IN_SET, "class", "critical", f"{ENV}: env")),
    fault("unknown recording", "tags", line("500", "mine/gun/gone.wav"),
          ("lines", IN_SET, "class", "critical", "mine/gun/gone.wav: not listed")),
    fault("descending", "tags", line("1000,500"),
          ("tags", BETWEEN, "interval_ms", "critical", f"{GUN}#500: -31.25"),
          ("tags", BETWEEN, "interval_ms", "warning", f"{GUN}#500: -31.25")),
    fault("twice", "tags", line("1000,1000@0.90"),
          ("tags", BETWEEN, "interval_ms", "critical", f"{GUN}#1000@0.90: 0"),
          ("tags", BETWEEN, "interval_ms", "warning", f"{GUN}#1000@0.90: 0")),
    fault("too near", "tags", line("1000,1160"), ("tags", BETWEEN, "interval_ms", "warning", f"{GUN}#1160: 10")),
    fault("no number", "tags", line("1000,1e3"),
          ("tags", NULL, "problem", "critical", f"{GUN}#1e3: '1e3' is no start")),
    fault("in silence", "tags", lambda root: [recorded(GUN, np.zeros_like)(root), line("1000")(root)],
          ("tags", BETWEEN, "peak_db", "critical", f"{GUN}#1000: -96.3")),
    fault("where nothing rises", "tags", lambda root: [line("6000", f"mine/gun/x/0{i}.wav")(root) for i in range(3)],
          ("tags", BETWEEN, "rise_db", "critical", f"{GUN}#6000: ")),
    fault("too many", "tags", many,
          ("tags", BETWEEN, "interval_ms", "warning", f"{GUN}#1190: 11.875"),
          ("gun", BETWEEN, "tags_per_s", "warning", f"{GUN}: 27")),
    fault("unknown origin", "tags", cell("tagged/recordings.csv", 0, "tagged", "guessed"),
          ("gun", IN_SET, "tagged", "critical", f"{GUN}: guessed")),
    fault("env with origin", "tags", cell("tagged/recordings.csv", 20, "tagged", "given"),
          ("env", IN_SET, "tagged", "critical", f"{ENV}: given")),
    fault("all automatic", "tags", automatic, ("corpus", BETWEEN, "automatic", "info", "gun recordings: 1")),
    fault("missing wav", "chunks", lambda root: (root / "chunks" / GUN).unlink(),
          ("chunks", NULL, "problem", "critical", f"{ID}: not on disk")),
    fault("short wav", "chunks", wav(f"chunks/{GUN}", lambda y: y[:-1]),
          ("chunks", NULL, "problem", "critical", f"{ID}: index 0 of {GUN}: it holds 4095 samples, 0 chunks")),
    fault("index past the end", "chunks", cell(CHUNKS, 0, "index", "1"),
          ("chunks", NULL, "problem", "critical", f"{ID}: index 1 of {GUN}: it holds 4096 samples, 1 chunks")),
    fault("same id", "chunks", cell(CHUNKS, 1, "chunk", ID), ("chunks", UNIQUE, "chunk", "critical", f"{ID}: {ID}")),
    fault("negative start", "chunks", cell(CHUNKS, 0, "start", "-1"),
          ("chunks", BETWEEN, "start", "critical", f"{ID}: -1")),
    fault("misspelt class", "chunks", cell(CHUNKS, 0, "class", "Gun"),
          ("chunks", IN_SET, "class", "critical", f"{ID}: Gun")),
    fault("onset outside", "chunks", cell(CHUNKS, 0, "onset", "4096"),
          ("gun", BETWEEN, "onset", "critical", f"{ID}: 4096")),
    fault("env onset", "chunks", cell(CHUNKS, 20, "onset", "7"), ("env", IN_SET, "onset", "critical", f"{ENV}#0: 7")),
    fault("silent gun", "chunks", wav(f"chunks/{GUN}", np.zeros_like),
          ("gun", BETWEEN, "peak_db", "critical", f"{ID}: -96.3")),
    fault("silent env", "chunks", lambda root: [
              wav(f"chunks/mine/env/x/0{i}.wav", np.zeros_like)(root) for i in range(3)],
          ("env", BETWEEN, "peak_db", "warning", f"{ENV}#0: -96.3")),
    fault("no impulse", "chunks", lambda root: [
              wav(f"chunks/mine/gun/x/0{i}.wav", lambda y: np.tile([900, -900], len(y) // 2).astype(np.int16))(root)
              for i in range(3)],
          ("gun", BETWEEN, "crest_db", "warning", f"{ID}: 0"),
          ("gun", BETWEEN, "rise_db", "critical", f"{ID}: 0")),
    fault("white noise", "chunks", white_noise, ("gun", BETWEEN, "rise_db", "critical", f"{ID}: ")),
    fault("no class", "chunks", lambda root: rewrite(root / CHUNKS, lambda t: t[t["class"] == "gun"]),
          ("classes", BETWEEN, "chunks", "critical", "env: 0")),
    fault("group without a side", "split", lambda root: rewrite(root / SPLITS, lambda t: t[1:]),
          ("groups", IN_SET, "sides", "critical", "gun-00: none")),
    fault("group on two sides", "split", two_sides, ("groups", IN_SET, "sides", "critical", "gun-00: test, train")),
    fault("misspelt side", "split", cell(SPLITS, 0, "side", "training"),
          ("groups", IN_SET, "sides", "critical", "gun-00: training")),
    fault("side without a class", "split", no_gun_in_test, ("parts", BETWEEN, "chunks", "critical", "test/gun: 0")),
    fault("little training", "split", little_training,
          ("sides", BETWEEN, "share_error", "warning", "train: 0.55")),
    fault("near-duplicate on two sides", "split", cell("pairs.csv", 0, "b", "mine/gun/x/19.wav"),
          ("pairs", IN_SET, "sides", "critical", "mine/gun/x/02.wav and mine/gun/x/19.wav: test, train")),
    fault("NaN", "features", feature("test", lambda x: x.__setitem__((0, 3, 4), np.nan)),
          ("chunks", BETWEEN, "not_finite", "critical", f"{TEST_ID}: 1")),
    fault("below the floor", "features", feature("train", lambda x: x.__setitem__((0, 3, 4), -101)),
          ("chunks", BETWEEN, "min_db", "critical", f"{TRAIN_ID}: -101")),
    fault("too loud", "features", feature("train", lambda x: x.__setitem__((0, 3, 4), 41)),
          ("chunks", BETWEEN, "max_db", "critical", f"{TRAIN_ID}: 41")),
    fault("lost feature", "features", feature("train", lambda x: x[:-1]),
          ("sides", EQUAL, "features, rows", "critical", "train: 31 != 32")),
    fault("empty side", "features", no_test_features, ("sides", BETWEEN, "features", "critical", "test: 0")),
    fault("float64", "features", feature("val", lambda x: x.astype(np.float64)),
          ("sides", IN_SET, "layout", "critical", "val: float64 n x 32 x 71")),
    fault("32 frames", "features", feature("val", lambda x: x[:, :, 1:]),
          ("sides", IN_SET, "layout", "critical", "val: float32 n x 32 x 70")),
    fault("flat array", "features", feature("val", lambda x: x.reshape(len(x), -1)),
          ("sides", IN_SET, "layout", "critical", "val: float32 n x 2272")),
    fault("constant band", "features", feature("train", lambda x: x.__setitem__((slice(None), 5), -20)),
          ("bands", BETWEEN, "range_db", "warning", "mel band 5: 0")),
    fault("misspelt class", "features", cell("features/test.csv", 0, "class", "1"),
          ("chunks", IN_SET, "class", "critical", f"{TEST_ID}: 1")),
    fault("augmented in test", "features", cell("features/test.csv", 0, "chunk", f"{ID}~1"),
          ("held_out", NOT_MATCH, "chunk", "critical", f"test/{ID}~1: {ID}~1")),
    fault("group on two sides", "features", cell("features/test.csv", 0, "recording_group", "gun-00"),
          ("groups", IN_SET, "sides", "critical", "gun-00: test, train")),
    fault("chunk on two sides", "features", same_chunk_on_two_sides,
          ("chunks", UNIQUE, "chunk", "critical", f"{TRAIN_ID}: {ID}"),
          ("groups", IN_SET, "sides", "critical", "gun-00: test, train")),
    fault("chunk twice on a side", "features", same_id_in_a_side,
          ("chunks", UNIQUE, "chunk", "critical", f"{TRAIN_ID}: {ID}")),
]  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good")
    build(root)
    return root


@pytest.fixture(scope="module")
def passed(good: Path) -> dict[str, dict]:
    return {suite: run(good, suite) for suite in INPUTS}


@pytest.fixture
def corpus(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "corpus")


@pytest.mark.sweep(15)
@pytest.mark.parametrize(("suite", "poison", "expected"), FAULTS)
def test_each_fault_is_named(corpus: Path, suite: str, poison: Callable[[Path], None], expected: tuple):
    poison(corpus)
    result = run(corpus, suite)
    failed = [e for e in result["expectations"] if not e["success"]]
    entries = {(e["table"], e["expectation"], e["column"], e["severity"]): e for e in failed}
    assert set(entries) == {e[:4] for e in expected}
    text = validation.report(result)
    for *key, example in expected:
        entry = entries[tuple(key)]
        assert entry["unexpected"] > 0
        assert any(value.startswith(example) for value in entry["examples"]), entry["examples"]
        assert f"{entry['severity']}: {entry['column']}: {entry['rule']}" in text
        assert example in text
    assert result["success"] == all(severity != "critical" for *_, severity, _ in expected)
    assert sum(result["failed"].values()) == len(expected)


@pytest.mark.parametrize("suite", INPUTS)
def test_a_good_corpus_passes(passed: dict[str, dict], suite: str):
    result = passed[suite]
    assert [e for e in result["expectations"] if not e["success"]] == []
    assert (result["suite"], result["success"]) == (suite, True)
    assert result["evaluated"] == len(result["expectations"]) > 2
    assert all(e["rule"] and e["severity"] in ("critical", "warning", "info") for e in result["expectations"])


def test_a_name_with_a_tilde_is_no_augmented_copy(corpus: Path):
    cell("features/test.csv", 0, "chunk", "mine/gun/x/E~1.wav#0")(corpus)
    assert run(corpus, "features")["failed"] == {"critical": 0, "warning": 0, "info": 0}


def test_a_gun_recording_without_a_shot_may_be_listed_as_rejected(corpus: Path):
    (corpus / TAGS).write_text((corpus / TAGS).read_text().replace(f"{GUN},1000", GUN))
    entry = next(e for e in run(corpus, "tags")["expectations"] if e["column"] == "told")
    assert (entry["success"], entry["examples"]) == (False, [f"{GUN}: 0"])
    with (corpus / "tagged/rejected.csv").open("a") as file:
        file.write(f"{GUN},no onset,a gun recording must hold a shot\n")
    assert run(corpus, "tags")["failed"] == {"critical": 0, "warning": 0, "info": 0}


@pytest.mark.parametrize("suite", INPUTS)
def test_every_expectation_has_a_fault(passed: dict[str, dict], suite: str):
    tried = {e[:4] for fault in FAULTS if fault.values[0] == suite for e in fault.values[2]}
    declared = {(e["table"], e["expectation"], e["column"], e["severity"]) for e in passed[suite]["expectations"]}
    assert declared == tried


def test_a_result_holds_samples_and_not_the_table(corpus: Path):
    rewrite(corpus / RAW, lambda t: t.__setitem__("licence", "unknown"))
    entry = next(e for e in run(corpus, "raw")["expectations"] if e["column"] == "licence")
    assert (entry["unexpected"], entry["rows"], entry["unexpected_percent"]) == (40, 40, 100)
    assert entry["examples"] == [f"mine/env/x/{i:02d}.wav: unknown" for i in range(P.validation.sample_rows)]


def test_results_do_not_depend_on_the_run_and_nothing_is_sent(good: Path, passed: dict[str, dict], monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for suite in INPUTS:
        assert json.dumps(run(good, suite)) == json.dumps(passed[suite])


def test_an_unknown_suite_is_refused():
    with pytest.raises(ValueError, match=r"suite='raws' must be one of raw, tags, chunks, split, features"):
        validation.validate("raws", [], p=P)


def test_a_broken_array_is_named(corpus: Path):
    path = corpus / "features/val.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"val\.npy: .*must be a whole \.npy"):
        run(corpus, "features")


def test_the_stage_passes_on_warnings_and_fails_on_critical(corpus: Path, monkeypatch, capsys):
    *inputs, out, page = [corpus / name for name in [*INPUTS["split"], "out.json", "page.html"]]
    monkeypatch.chdir(ROOT)
    little_training(corpus)
    assert runpy.run_path("stages/validate.py")["main"]("split", *inputs, out, page) == 0
    assert "warning: share_error" in capsys.readouterr().out
    assert json.loads(out.read_text())["failed"] == {"critical": 0, "warning": 1, "info": 0}
    cell(SPLITS, 0, "side", "training")(corpus)
    command = [sys.executable, "stages/validate.py", "split", *inputs, out, page]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    assert "critical: sides: must be on exactly one known side: 1 of 40 groups" in failed.stderr
    assert "gun-00: training" in failed.stderr
    assert not json.loads(out.read_text())["success"]
    assert "gun-00: training" in page.read_text()


def split_stage(params: str, folder: Path) -> subprocess.CompletedProcess:
    (folder / "params.yaml").write_text(params)
    command = [sys.executable, "-m", "stages.split", "chunks", "grouped", "splits.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_stage_tells_the_user_in_one_line_and_keeps_the_traceback_of_a_bug(corpus: Path):
    good = (ROOT / "params.yaml").read_text()
    misspelt = split_stage(good.replace("  env_hop:", "  env_hopp:"), corpus)
    assert misspelt.returncode == 1
    known = "chunks has: seed, draws, most, jitter, env_hop"
    missing, unknown = misspelt.stderr.splitlines()
    assert missing == "params.yaml: chunks.env_hop is missing"
    assert unknown == f"params.yaml: chunks.env_hopp=6144 is not a known key; {known}"
    (corpus / "chunks/chunks.csv").write_text("x,y\n")
    table = split_stage(good, corpus)
    assert (table.returncode, table.stderr.count("\n")) == (1, 1)
    assert table.stderr.startswith("chunks/chunks.csv: columns ['chunk', ")
    (corpus / "chunks/chunks.csv").unlink()
    bug = split_stage(good, corpus)
    assert bug.returncode == 1
    assert bug.stderr.startswith("Traceback (most recent call last):")
