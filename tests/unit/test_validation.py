"""Each fault that a suite is for is found, named by file, expectation and severity; good data passes."""

import json
import runpy
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from gunshot import audio, params, tables, validation

ROOT = Path(__file__).parents[2]
P = params.load("audio", "quality", "splits", "features", "validation", path=ROOT / "params.yaml")
SR, LENGTH = P.audio.sr, P.audio.chunk_length
FRAMES = 1 + (LENGTH - P.features.n_fft) // P.features.hop_length
ONSET, GROUPS = 1000, 20
SIDE_OF = ["train"] * 16 + ["val"] * 2 + ["test"] * 2
INPUTS = {
    "raw": ["raw"],
    "chunks": ["chunks"],
    "split": ["chunks/chunks.csv", "splits.csv"],
    "features": ["features"],
}


def recording(rng: np.random.Generator, kind: str) -> np.ndarray:
    y = 0.01 * rng.standard_normal(2 * LENGTH)
    if kind == "gun":
        y[ONSET:] += 0.8 * np.exp(-np.arange(2 * LENGTH - ONSET) / 80) * rng.standard_normal(2 * LENGTH - ONSET)
    return audio.to_int16(y)


def build(root: Path) -> None:
    """Write a good corpus: one recording and one chunk a group and class, in every form that a suite reads."""
    rng = np.random.default_rng(0)
    recordings, chunks, sides = [], [], []
    for kind in ("gun", "env"):
        for i, side in enumerate(SIDE_OF):
            path, group, pcm = f"mine/{kind}/x/{i:02d}.wav", f"{kind}-{i:02d}", recording(rng, kind)
            common = {"class": kind, "label": "x", "recording_group": group, "source": "mine"}
            audio.write_pcm(root / "raw" / path, pcm, sr=SR)
            audio.write_pcm(root / "chunks" / path, pcm[:LENGTH], sr=SR)
            facts = {"sr_found": SR, "duration_s": len(pcm) / SR, "sha256": audio.sha256(pcm)}
            recordings.append({"path": path, "upstream": "me", "licence": "CC0-1.0", **common, **facts})
            onset = ONSET if kind == "gun" else -1
            at = {"chunk": f"{path}#0", "path": path, "index": 0, "recording": path, "start": 0, "onset": onset}
            chunks.append({**at, **common})
            sides.append({"recording_group": group, "side": side, "class": kind, "source": "mine"})
    tables.write(root / "raw/mine/recordings.csv", tables.frame(recordings, tables.RECORDING))
    tables.write(root / "chunks/chunks.csv", tables.frame(chunks, tables.CHUNK))
    tables.write(root / "splits.csv", pd.DataFrame(sides))
    for side in ("train", "val", "test"):
        rows = [c for c, s in zip(chunks, sides, strict=True) if s["side"] == side]
        tables.write(root / f"features/{side}.csv", tables.frame(rows, tables.CHUNK))
        x = rng.uniform(-90, 10, (len(rows), P.features.n_mels, FRAMES)).astype(np.float32)
        np.save(root / f"features/{side}.npy", x)


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


def run(root: Path, suite: str) -> dict:
    return validation.validate(suite, [root / name for name in INPUTS[suite]], p=P)


def rewrite(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    changed = change(table)
    tables.write(path, table if changed is None else changed)


def cell(table: str, row: int, column: str, value: str) -> Callable[[Path], None]:
    """Return a poison that overwrites one cell; the first half of the rows are gun."""
    return lambda root: rewrite(root / table, lambda t: t.__setitem__(column, t[column].where(t.index != row, value)))


def wav(path: str, change: Callable[[np.ndarray], np.ndarray], *, sr: int = SR) -> Callable[[Path], None]:
    """Return a poison that changes a wav's samples and leaves its table as it is."""

    def poison(root: Path) -> None:
        pcm, _ = sf.read(root / path, dtype="int16")
        sf.write(root / path, change(pcm), sr, subtype="PCM_16")

    return poison


def recorded(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Return a poison of a recording in data/raw that was so when it was imported: its table agrees."""

    def poison(root: Path) -> None:
        wav(f"raw/{path}", change)(root)
        found = audio.sha256(audio.read_pcm(root / "raw" / path, sr=SR))
        table = root / "raw/mine/recordings.csv"
        rewrite(table, lambda t: t.__setitem__("sha256", t["sha256"].where(t["path"] != path, found)))

    return poison


def feature(side: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Return a poison that changes a side's features, in place or to what `change` returns."""

    def poison(root: Path) -> None:
        x = np.load(root / f"features/{side}.npy")
        changed = change(x)
        np.save(root / f"features/{side}.npy", x if changed is None else changed)

    return poison


def truncate(root: Path) -> None:
    path = root / "raw/mine/gun/x/00.wav"
    path.write_bytes(path.read_bytes()[:9000])


def not_audio(root: Path) -> None:
    (root / "raw/mine/gun/x/00.wav").write_text("no wav")


def unlisted(root: Path) -> None:
    audio.write_pcm(root / "raw/mine/new.wav", recording(np.random.default_rng(1), "env"), sr=SR)


def listed_twice(root: Path) -> None:
    rewrite(root / "raw/mine/recordings.csv", lambda t: pd.concat([t, t[:1]]))


def duplicate(root: Path) -> None:
    shutil.copy(root / "raw/mine/gun/x/00.wav", root / "raw/mine/gun/x/01.wav")
    recorded("mine/gun/x/01.wav", lambda y: y)(root)


def no_gun(root: Path) -> None:
    shutil.rmtree(root / "raw/mine/gun")
    rewrite(root / "raw/mine/recordings.csv", lambda t: t[t["class"] == "env"])


def two_gun_groups(root: Path) -> None:
    def merge(table: pd.DataFrame) -> None:
        table["recording_group"] = ["gun-0" if i < 10 else "gun-1" if i < 20 else f"env-{i}" for i in table.index]

    rewrite(root / "raw/mine/recordings.csv", merge)


def mostly_env(root: Path) -> None:
    table = pd.read_csv(root / "raw/mine/recordings.csv", dtype=str)
    for i in range(60):
        path = f"mine/env/x/more{i}.wav"
        pcm = recording(np.random.default_rng(100 + i), "env")
        audio.write_pcm(root / "raw" / path, pcm, sr=SR)
        table.loc[len(table)] = dict(table.loc[20]) | {"path": path, "sha256": audio.sha256(pcm)}
    for path in table["path"][3:20]:
        (root / "raw" / path).unlink()
    tables.write(root / "raw/mine/recordings.csv", table.drop(index=range(3, 20)))


def two_sides(root: Path) -> None:
    rewrite(root / "splits.csv", lambda t: pd.concat([t, t[:1].assign(side="test")]))


def no_gun_in_test(root: Path) -> None:
    rewrite(root / SPLITS, lambda t: t.__setitem__("side", t["side"].mask(t["recording_group"] > "gun-17", "val")))


def little_training(root: Path) -> None:
    rewrite(root / "splits.csv", lambda t: t.__setitem__("side", ["train", "val", "test", "test"] * (len(t) // 4)))


def same_chunk_on_two_sides(root: Path) -> None:
    train = pd.read_csv(root / "features/train.csv", dtype=str)
    rewrite(root / "features/test.csv", lambda t: pd.concat([train[:1], t[1:]]))


def no_test_features(root: Path) -> None:
    feature("test", lambda x: x[:0])(root)
    rewrite(root / "features/test.csv", lambda t: t[:0])


def same_id_in_a_side(root: Path) -> None:
    rewrite(root / "features/train.csv", lambda t: pd.concat([t[:1], t[:1], t[2:]]))


RAW, CHUNKS, SPLITS = "raw/mine/recordings.csv", "chunks/chunks.csv", "splits.csv"
GUN, ENV = "mine/gun/x/00.wav", "mine/env/x/00.wav"
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
    fault("silent env", "chunks", wav(f"chunks/{ENV}", np.zeros_like),
          ("env", BETWEEN, "peak_db", "warning", f"{ENV}#0: -96.3")),
    fault("guns without impulse", "chunks", lambda root: [
              wav(f"chunks/mine/gun/x/0{i}.wav", lambda y: np.tile([900, -900], len(y) // 2).astype(np.int16))(root)
              for i in range(2)],
          ("gun", BETWEEN, "crest_db", "warning", f"{ID}: 0")),
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
          ("sides", IN_SET, "layout", "critical", "val: float64 n x 32 x 33")),
    fault("32 frames", "features", feature("val", lambda x: x[:, :, 1:]),
          ("sides", IN_SET, "layout", "critical", "val: float32 n x 32 x 32")),
    fault("flat array", "features", feature("val", lambda x: x.reshape(len(x), -1)),
          ("sides", IN_SET, "layout", "critical", "val: float32 n x 1056")),
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


@pytest.mark.parametrize(("suite", "poison", "expected"), FAULTS)
def test_each_fault_is_named(corpus: Path, suite: str, poison: Callable[[Path], None], expected: tuple):
    poison(corpus)
    result = run(corpus, suite)
    failed = [e for e in result["expectations"] if not e["success"]]
    found = {(e["table"], e["expectation"], e["column"], e["severity"]): e for e in failed}
    assert set(found) == {e[:4] for e in expected}
    text = validation.report(result)
    for *key, example in expected:
        entry = found[tuple(key)]
        assert entry["unexpected"] > 0
        assert any(found.startswith(example) for found in entry["examples"]), entry["examples"]
        assert f"{entry['severity']}: {entry['column']}: {entry['rule']}" in text
        assert example in text
    assert result["success"] == all(severity == "warning" for *_, severity, _ in expected)
    assert result["failed"]["critical"] + result["failed"]["warning"] == len(expected)


@pytest.mark.parametrize("suite", INPUTS)
def test_a_good_corpus_passes(passed: dict[str, dict], suite: str):
    result = passed[suite]
    assert [e for e in result["expectations"] if not e["success"]] == []
    assert (result["suite"], result["success"]) == (suite, True)
    assert result["evaluated"] == len(result["expectations"]) > 2
    assert all(e["rule"] and e["severity"] in ("critical", "warning") for e in result["expectations"])


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
    with pytest.raises(ValueError, match=r"suite='raws' must be one of raw, chunks, split, features"):
        validation.validate("raws", [], p=P)


def test_a_broken_array_is_named(corpus: Path):
    path = corpus / "features/val.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"val\.npy: .*must be a whole \.npy"):
        run(corpus, "features")


def test_the_stage_passes_on_warnings_and_fails_on_critical(corpus: Path, monkeypatch, capsys):
    *inputs, out = [corpus / name for name in [*INPUTS["split"], "out.json"]]
    monkeypatch.chdir(ROOT)
    little_training(corpus)
    assert runpy.run_path("stages/validate.py")["main"]("split", *inputs, out) == 0
    assert "warning: share_error" in capsys.readouterr().out
    assert json.loads(out.read_text())["failed"] == {"critical": 0, "warning": 1, "info": 0}
    cell(SPLITS, 0, "side", "training")(corpus)
    command = [sys.executable, "stages/validate.py", "split", *inputs, out]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    assert "critical: sides: must be on exactly one known side: 1 of 40 groups" in failed.stderr
    assert "gun-00: training" in failed.stderr
    assert not json.loads(out.read_text())["success"]
