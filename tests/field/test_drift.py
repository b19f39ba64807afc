"""Drift of recordings: what must be found, what must not alarm, and what becomes of malformed ones."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, wasserstein_distance

from gunshot import cli
from gunshot.base import audio, params, processes, tables
from gunshot.dataset import chunks
from gunshot.field import drift
from gunshot.models.model import Model
from gunshot.simulate import corpus
from tests.cli.test_commands import run

ROOT = Path(__file__).parents[2]
P = params.load(*params.SECTIONS, path=ROOT / "params.yaml")
SR, LENGTH = P.audio.sr, P.audio.chunk_length
CORPUS = corpus.Corpus(41, P.simulate.duration_s, P.simulate.distance_m, SR)
FRESH = replace(CORPUS, seed=42)
MODEL = Model(  # scores how far the loudest frame stands out
    Path("stand-in"),
    {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}},
    logit=lambda x: (x.mean(axis=1).max(axis=1) - np.median(x.mean(axis=1), axis=1)) / 6 - 3,
    window=(P.features.n_mels, P.context.frames),
)
MODEL.__dict__["operating_point"] = 0.5  # in place of an operating.json


def cut(pcm: np.ndarray) -> np.ndarray:
    starts = chunks.at_hop(len(pcm), hop=P.chunks.env_hop, chunk_length=LENGTH)
    return drift.describe(pcm, starts, MODEL, P)


def sound(index: int, source: corpus.Corpus) -> np.ndarray:
    return corpus.render("env", index, source).pcm


def rendered(index: int, source: corpus.Corpus) -> np.ndarray:
    return cut(sound(index, source))


def changed(item: tuple[int, np.ndarray], change) -> np.ndarray:
    index, pcm = item
    return cut(audio.to_int16(change(audio.to_float(pcm), index)))


def table(function, items, shared) -> pd.DataFrame:
    """What a function measures of each recording."""
    parts = list(processes.in_order(function, items, shared, workers=2))
    return drift.frame(np.repeat([f"{i:05d}" for i in range(len(parts))], list(map(len, parts))), np.concatenate(parts))


def limits_of(reference: pd.DataFrame):
    """Return a function from a number of recordings to the limits of such a batch."""
    m = P.monitor
    kept = {"least": m.min_distance, "share": m.min_share}
    return cache(lambda n: drift.thresholds(reference, n=n, rng=np.random.default_rng(m.seed), **kept))


def verdict(reference: pd.DataFrame, batch: pd.DataFrame, limits=None) -> dict:
    thresholds = (limits or limits_of(reference))(drift.effective(batch["recording"]))
    return drift.judge(drift.snapshot(reference, batch, thresholds), reference, batch, share=P.monitor.min_share)


def drifting(result: dict) -> set[str]:
    return {row["column"] for row in result["columns"] if row["drifts"]}


@pytest.fixture(scope="module")
def reference():
    return table(rendered, range(360), CORPUS)


@pytest.fixture(scope="module")
def fresh():
    return list(processes.in_order(sound, range(120), FRESH, workers=2))


def gain(db):
    return lambda y, index: y * 10 ** (db / 20)


def low_pass(y, index):
    return scipy.signal.sosfilt(scipy.signal.butter(8, 4000, fs=SR, output="sos"), y)


def at_8_khz(y, index):
    return scipy.signal.resample_poly(scipy.signal.resample_poly(y, 1, 2), 2, 1)[: len(y)]


def noise_floor(y, index):
    return y + 10 ** (-30 / 20) * np.random.default_rng(index).standard_normal(len(y))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (gain(12), {"clipped", "band_0_250_db"}),
        (gain(-12), {"level_db", "band_250_1000_db"}),
        (low_pass, {"centroid_hz", "rolloff_hz", "band_4000_8000_db"}),
        (at_8_khz, {"centroid_hz", "rolloff_hz", "band_4000_8000_db"}),
        (noise_floor, {"level_db", "flatness_db", "band_4000_8000_db"}),
    ],
    ids=["gain +12 dB", "gain -12 dB", "low-pass at 4 kHz", "recorded at 8 kHz", "noise floor at -30 dBFS"],
)
def test_a_new_microphone_and_a_rising_noise_floor_are_found(reference, fresh, change, expected):
    result = verdict(reference, table(changed, list(enumerate(fresh)), change))
    assert result["drift"], result
    assert expected <= drifting(result), result["reason"]
    assert all(name in result["reason"] for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize(("kinds", "kind", "odd"), [(corpus.BEDS, "rain", 1), (corpus.PLACES, "subway", 0)])
def test_a_new_place_is_found(reference, kinds, kind, odd):
    """Recordings of one bed or place alone, of which the reference holds a few: see `corpus.env` for their turns."""
    turns = [2 * (list(kinds).index(kind) + len(kinds) * k) + odd for k in range(80)]
    result = verdict(reference, table(rendered, [3 * turn + 2 for turn in turns], FRESH))
    assert result["drift"], result["reason"]


@pytest.mark.slow
def test_the_same_distribution_does_not_drift(reference):
    result = verdict(reference, table(rendered, range(1000, 1120), FRESH))
    assert not result["drift"], result["reason"]
    assert result["recordings"] == 120 and 100 < result["effective"] <= 120


def false_verdicts(reference: pd.DataFrame, start: int, batches: int, size: int = 20) -> int:
    """How many batches of recordings that the reference does not hold alarm."""
    fresh = table(rendered, range(start, start + batches * size), FRESH)
    batch_of = np.random.default_rng(0).permutation(batches * size) // size  # kinds take turns by index
    limits, parts = limits_of(reference), fresh.groupby(batch_of[fresh["recording"].astype(int)])
    alarms = [verdict(reference, part, limits)["drift"] for _, part in parts]
    assert len(alarms) == batches
    return sum(alarms)


@pytest.mark.exhaustive
@pytest.mark.timeout(1500)
def test_false_verdicts_on_fresh_recordings_are_at_most_5_percent():
    """Two hundred batches; one-sided 95 % Clopper-Pearson bound.

    So many that the bound holds with up to four alarms: with none allowed, chance would decide at the nominal 1 %.
    """
    alarms = false_verdicts(table(rendered, range(P.simulate.env_recordings), CORPUS), 0, 200)
    assert beta.ppf(0.95, alarms + 1, 200 - alarms) <= 0.05, alarms


@pytest.mark.long
def test_false_verdicts_on_a_few_fresh_recordings_are_as_rare_as_chance(reference, drawn):
    """Ten other batches for each commit: at the nominal 1 % more than two alarm in one of 9,000 commits."""
    assert false_verdicts(reference, drawn.randrange(10_000, 1_000_000), 10) <= 2


def small(rng: np.random.Generator, names: int = 30, shift: float = 0.0) -> pd.DataFrame:
    """Rows of which a recording's are alike."""
    own = rng.standard_normal((names, 1, len(drift.COLUMNS))) + shift
    values = own + 0.1 * rng.standard_normal((names, 5, len(drift.COLUMNS)))
    return drift.frame(np.repeat([f"r{i}" for i in range(names)], 5), values)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_distance_is_scipys(seed, n):
    rng = np.random.default_rng(seed)
    values = np.sort(np.round(rng.standard_normal(n + 5), 1))  # with ties
    drawn = rng.permutation(n + 5) < n
    expected = wasserstein_distance(values[drawn], values[~drawn])
    assert drift._distance(drawn, np.diff(values)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_thresholds_shrink_with_recordings_not_with_chunks_and_stop_at_the_least():
    reference = small(np.random.default_rng(0), 200)

    def limits(table: pd.DataFrame, n: int, least: float = 0.05) -> dict[str, float]:
        return drift.thresholds(table, n=n, least=least, share=0.2, rng=np.random.default_rng(1))

    by_count = {n: limits(reference, n) for n in (2, 20, 100, 5000)}
    for column in drift.COLUMNS:
        assert by_count[2][column] > by_count[20][column] > by_count[100][column] == by_count[5000][column]
    longer = pd.concat([reference] * 4)
    assert limits(longer, 20) == pytest.approx(by_count[20])
    assert set(limits(reference, 20, least=9.0).values()) == {9.0}


def test_effective_is_the_number_of_recordings_unless_one_outweighs():
    assert drift.effective(pd.Series(np.repeat(list("abcd"), 7))) == 4
    assert drift.effective(pd.Series(["a"] * 1000 + list("bcdefghij"))) == 1


@pytest.mark.slow
def test_the_share_of_columns_decides():
    rng = np.random.default_rng(3)
    reference, batch = small(rng, 100), small(rng, 60)
    assert not verdict(reference, batch)["drift"]
    for i, column in enumerate(drift.COLUMNS[:3], 1):
        batch[column] += 5
        result = verdict(reference, batch)
        assert len(drifting(result)) == i and result["drift"] == (i >= 3), result["reason"]
    assert result["columns"][0]["distance"] > 3 > result["columns"][3]["distance"]


@pytest.mark.slow
def test_columns_that_never_vary_are_judged():
    rng = np.random.default_rng(4)
    reference, batch = small(rng, 40).assign(clipped=0.0, alarm=0.0), small(rng, 40).assign(clipped=0.0, alarm=1.0)
    assert drifting(verdict(reference, batch)) == {"alarm"}


def test_an_alarm_is_a_score_at_the_detector_s_operating_point(tmp_path):
    (tmp_path / "operating.json").write_text('{"logit": 1.5}')
    model = replace(MODEL, path=tmp_path / "m.tflite", logit=lambda x: np.linspace(1, 2, len(x)))  # half reach it
    *_, score, alarm = drift.describe(np.zeros(40 * LENGTH, np.int16), np.arange(40) * LENGTH, model, P).T
    assert (alarm == (score >= 1 / (1 + np.exp(-1.5)))).all() and alarm.sum() == 20


def test_sample_is_of_whole_recordings():
    whole = small(np.random.default_rng(5), 50)
    some = drift.sample(whole, rows=52, rng=np.random.default_rng(0))
    assert len(some) == 55 and set(some["recording"].value_counts()) == {5}
    assert len(drift.sample(whole, rows=10**6, rng=np.random.default_rng(0))) == len(whole)


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(drift, "load_once", lambda path: MODEL)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.6, 29.9, 30.01, 31.3, 244.3])  # after 200 s a chunk starts beyond a block
def test_blocks_give_what_a_whole_recording_does(stand_in, tmp_path, seconds):
    """With what sounds around each chunk; the quiet beyond a recording's ends is that of its last half minute."""
    pcm = np.random.default_rng(6).integers(-2000, 2000, int(seconds * SR)).astype(np.int16)
    audio.write_pcm(tmp_path / "a.wav", pcm, sr=SR)
    facts, rows = drift.of_recording(("a", tmp_path / "a.wav"), Path(), P)
    expected = cut(pcm)
    if seconds > drift.HELD_S:
        held = pcm[-int(drift.HELD_S * SR) :]
        start = P.chunks.env_hop * (len(expected) - 1) - (len(pcm) - len(held))
        np.testing.assert_allclose(rows[-1], drift.describe(held, [start], MODEL, P)[0], atol=0.05)
        rows, expected = rows[1:-1], expected[1:-1]
    np.testing.assert_array_equal(rows, expected)
    assert facts["problem"] is None and facts["chunks"] == len(cut(pcm))
    assert facts["peak_db"] == pytest.approx(20 * np.log10(2000 / 32768), abs=0.02)


@pytest.fixture
def project(tmp_path, monkeypatch, stand_in):
    """A folder with params.yaml, dvc.yaml, a reference, and forty recordings of two devices."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    noise = lambda: scipy.signal.lfilter([1], [1, -0.9], rng.standard_normal(20000)) * rng.uniform(0.001, 0.02)  # noqa: E731
    known = [cut(audio.to_int16(noise())) for _ in range(80)]
    names = np.repeat([f"r{i}" for i in range(80)], [len(part) for part in known])
    tables.write("models/quantized/reference.csv", drift.frame(names, np.concatenate(known)))
    for i in range(40):
        path = Path(f"data/field/mast{i % 2}/{i:02d}.flac")
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, noise(), SR)
    return tmp_path


def spoken(*args: str) -> dict:
    done = run("drift", "--format", "json", *args)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_command_writes_what_it_says(project):
    result = spoken()
    assert not result["drift"] and (result["recordings"], result["rejected"]) == (40, 0)
    assert result == json.loads(Path("reports/drift/verdict.json").read_text())
    report = json.loads(Path("reports/drift/report.json").read_text())
    limits = {row["column"]: (row["distance"], row["threshold"]) for row in result["columns"]}
    for metric in report["metrics"]:
        distance, limit = limits[metric["config"]["column"]]
        assert (metric["value"], metric["config"]["threshold"]) == pytest.approx((distance, limit), abs=1e-5)
    assert [test["status"] for test in report["tests"]] == ["SUCCESS"] * len(drift.COLUMNS)
    for file in Path("data/field").rglob("*.flac"):
        y, _ = sf.read(file)
        sf.write(file, 0.01 * y, SR)
    result = spoken("data/field")
    assert result["drift"] and {"level_db", "band_0_250_db"} <= drifting(result)
    said = run("drift").stdout
    assert "no drift" not in said and "measured with models/quantized/model.tflite)" in said


@pytest.mark.slow
def test_the_batch_s_digest_is_of_what_arrived_and_was_confirmed(project):
    batch = lambda: spoken()["batch"]  # noqa: E731
    first, file, tags = batch(), Path("data/field/mast0/00.flac"), Path("data/field/tags.csv")
    content = file.read_bytes()
    file.unlink()
    Path("data/field/scores.csv").write_text("recording,score\n")  # the command's own
    gone = batch()
    file.write_bytes(content)
    assert batch() == first != gone and len(first) == 64
    tags.write_text("mast0/00.flac\n")
    confirmed = batch()
    tags.unlink()
    file.rename(file.with_name("aa.flac"))
    assert len({first, gone, confirmed, batch()}) == 4


@pytest.mark.slow
def test_the_champion_on_the_record_is_measured_not_the_tree_s_model(project):
    tree = spoken()
    assert not tree["drift"] and tree["model"] == "models/quantized/model.tflite"
    folder = Path("models/promoted/v1.0.0")
    reference = tables.read("models/quantized/reference.csv", drift.REFERENCE)
    reference["level_db"] += 60
    reference["band_0_250_db"] += 60
    reference["snr_db"] += 60
    tables.write(folder / "reference.csv", reference)
    Path("models/record.jsonl").write_text('{"stage": "prod", "version": "v1.0.0"}\n')
    result = spoken()
    assert result["drift"] and drifting(result) == {"level_db", "band_0_250_db", "snr_db"}
    assert (result["model"], result["batch"]) == ("v1.0.0", tree["batch"])


@pytest.mark.slow
def test_malformed_recordings_are_listed_and_the_rest_is_measured(project):
    field = Path("data/field/mast0")
    (field / "broken.wav").write_bytes(b"RIFF nothing")
    (field / "empty.wav").touch()
    (field / "notes.txt").write_text("windy")
    sf.write(field / "short.wav", np.zeros(LENGTH - 1), SR)
    sf.write(field / "nan.wav", np.full(SR, np.nan), SR, subtype="FLOAT")
    (field / "away.wav").symlink_to("/nowhere.wav")
    whole = Path("data/field/mast0/00.flac").read_bytes()
    (field / "cut.flac").write_bytes(whole[: len(whole) // 3])
    Path("data/field/tags.csv").write_text("mast0/00.flac\n")
    result = spoken()
    assert (result["recordings"], result["rejected"]) == (40, 6)  # the text is listed, and counts for nothing
    rejected = tables.read("reports/drift/rejected.csv", tables.REJECTED)
    names = ["away.wav", "broken.wav", "cut.flac", "empty.wav", "nan.wav", "notes.txt", "short.wav"]
    assert sorted(rejected["file"]) == [f"mast0/{name}" for name in names]
    assert (rejected["value"].str.len() > 0).all() and (rejected["rule"].str.len() > 0).all()
    assert rejected.set_index("file")["rule"]["mast0/cut.flac"] == "FFmpeg or libsndfile must read it"
    valid = json.loads(Path("reports/drift/validation.json").read_text())
    assert valid["success"] and valid["failed"]["warning"] == 1
    assert "mast0/short.wav" in run("drift").stderr


@pytest.mark.slow
def test_silent_and_clipped_recordings_are_measured_and_warned_of(project):
    sf.write("data/field/mast1/silent.wav", np.zeros(SR), SR)
    sf.write("data/field/mast1/loud.wav", np.sign(np.sin(np.arange(SR))), SR)
    assert spoken()["recordings"] == 42
    valid = json.loads(Path("reports/drift/validation.json").read_text())
    failed = {e["column"]: e["examples"][0].split(":")[0] for e in valid["expectations"] if not e["success"]}
    assert failed == {"peak_db": "mast1/silent.wav", "clipped": "mast1/loud.wav"}


@pytest.mark.slow
def test_nothing_arrived_is_no_drift_and_nothing_readable_is_an_error(project, monkeypatch, capsys, tmp_path):
    shutil.rmtree("data/field")
    result = spoken()
    assert not result["drift"] and result["reason"] == "no recordings in data/field" and result["recordings"] == 0
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("sys.argv", ["gunshot", "drift", "none"])
    with pytest.raises(SystemExit, match="none: no recordings in it; name a folder of audio files"):
        cli.main()
    (tmp_path / "none/a.wav").write_text("no audio")
    with pytest.raises(SystemExit, match=r"none: no recording can be measured; 1 are listed in .*rejected\.csv"):
        cli.main()


def test_a_missing_reference_says_how_to_make_it(project, monkeypatch):
    Path("models/quantized/reference.csv").unlink()
    monkeypatch.setattr("sys.argv", ["gunshot", "drift"])
    with pytest.raises(SystemExit, match=r"reference\.csv: no such file; make it with `dvc repro reference`"):
        cli.main()
