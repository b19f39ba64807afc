"""One operating point: evaluate counts what detect does at it, and detect says how near a score came."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gunshot import tags
from gunshot.base import params, tables
from gunshot.report import plots
from tests.cli.test_commands import forest, project, run, shifted  # noqa: F401 - fixtures

SR, COLLAR_S = 16000, 0.2


def bangs(rng, *starts: int) -> np.ndarray:
    y = 1e-4 * rng.standard_normal(64000)
    for start in starts:
        y[start : start + 1600] += 0.5 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 400)
    return y


@pytest.fixture
def labelled(forest, project):  # noqa: F811
    """Files of two classes: with two bangs, with one, with one that nobody tagged; without, and two false ones."""
    rng = np.random.default_rng(1)
    placed = {"gun/two.wav": (16000, 40000), "gun/one.wav": (20000,), "gun/none.wav": (), "gun/auto.wav": (30000,)}
    placed |= {"env/calm.wav": (), "env/false.wav": (16000, 48000)}
    for name, starts in placed.items():
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(Path("in", name), bangs(rng, *starts), SR)
    # None is said to hold a shot that nobody can hear.
    known = {"gun/two.wav": (16000, 40000), "gun/one.wav": (20000,), "gun/none.wav": (30000,)}
    tags.write(Path("in/tags.csv"), {name: [tags.Tag(s) for s in starts] for name, starts in known.items()})
    return known | {"gun/auto.wav": (30000,)}


def detected() -> dict[str, list[float]]:
    files = sorted(map(str, Path("in").rglob("*.wav")))
    done = run("detect", *files, "--model", "forest.joblib", "--format", "json")
    assert done.exit_code == 0, done.output
    onsets = {name.removeprefix("in/"): [] for name in files}
    for row in map(json.loads, done.stdout.splitlines()):
        onsets[row["file"].removeprefix("in/")].append(row["onset_s"])
    return onsets


def evaluated() -> dict:
    done = run("evaluate", "in", "--model", "forest.joblib")
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 100 for line in done.stdout.splitlines()), done.stdout
    figures = tables.read_json(Path("reports/evaluate/in/metrics.json"))
    figures["files"], figures["windows"] = figures["files"]["forest.joblib"], figures["windows"]["forest.joblib"]
    return figures | {"said": done.stdout}


@pytest.mark.slow
def test_its_figures_are_counts_of_what_detect_prints(labelled):
    onsets, figures = detected(), evaluated()
    files = figures["files"]
    hits = sum(any(abs(t - s / SR) <= COLLAR_S for t in onsets[name]) for name in labelled for s in labelled[name])
    # So that there is what to count.
    assert {name for name in onsets if onsets[name]} == {"gun/two.wav", "gun/one.wav", "gun/auto.wav", "env/false.wav"}
    assert (files["gun_files_found"], files["gun_files"], files["recall"]) == (3, 4, 0.75)
    assert (files["shots_found"], files["shots"]) == (hits, 5) == (4, 5)
    assert files["shot_recall"] == 0.8 and 0 < files["shot_recall_lower"] < 0.8
    assert (files["false_files"], files["false_incidents"]) == (0.5, 2)  # two seconds apart: each wakes somebody
    assert files["env_hours"] == pytest.approx(8 / 3600) and files["false_incidents_per_hour"] == pytest.approx(900)
    assert files["false_incidents_per_hour_upper"] == pytest.approx(6.296 / (8 / 3600), rel=1e-3)  # Garwood, of 2
    assert "3 of 4, at least" in figures["said"] and "900.0, at most 2833" in figures["said"]
    page = Path("reports/evaluate/in/index.html").read_text()
    assert "What detect does" in page and "chunk threshold" not in page


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "zip", "gztar"])
def test_what_was_not_heard_is_counted_once(labelled, form):
    """Of an archive as of its folder; what lies beside recordings is none, and a tag file's line neither."""
    Path("in/env/gone.wav").write_bytes(b"RIFF")
    Path("in/gun/notes.txt").write_text("two shots")
    Path("in/manifest.csv").write_text("path,recording_group\ngun/one.wav,a\ngun/one.wav,b\n")
    with open("in/tags.csv", "a") as file:
        file.write("gun/auto.wav,x\n")
    path = "in"
    if form != "folder":
        path = Path(shutil.make_archive("packed", form, "in")).name
        shutil.rmtree("in")
    done = run("evaluate", path, "--model", "forest.joblib")
    out = Path("reports/evaluate", "in" if form == "folder" else "packed")
    assert f"heard 6 of 7 files; 1 could not be (listed in {out / 'rejected.csv'})" in done.stdout.splitlines()
    assert tables.read_json(out / "metrics.json")["counts"] == {"recordings": 7, "heard": 6, "not_heard": 1}
    assert "heard 6 of 7 files; 1 could not be" in (out / "index.html").read_text()
    refused = tables.read(out / "rejected.csv", tables.REJECTED)
    assert {file.removeprefix(f"{Path.cwd()}/") for file in refused["file"]} == {
        "gun/notes.txt", "gun/one.wav", "tags.csv:4", f"{path}/env/gone.wav"
    }  # fmt: skip


@pytest.mark.slow
def test_a_warning_of_a_file_is_printed_once(labelled):
    """Its windows are scored, and it is heard as `detect` hears it: both open the file."""
    y = bangs(np.random.default_rng(2), 16000, 40000)
    sf.write("in/gun/two.wav", np.stack([y, -y], axis=1), SR)
    command = [Path(sys.executable).with_name("gunshot"), "evaluate", "in", "--model", "forest.joblib"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)  # its processes log to stderr
    assert done.stderr.count("two.wav: the 2 channels cancel each other") == 1


@pytest.mark.slow
def test_the_threshold_is_the_operating_point_s_whatever_that_of_single_chunks(labelled, project):  # noqa: F811
    shifted(project, 0.0, 30.0)
    report = tables.read_json(Path("report.json")) | {"chunk_threshold": 0.01}
    Path("report.json").write_text(json.dumps(report))
    figures = evaluated()
    assert not any(detected().values())
    assert figures["files"]["recall"] == figures["files"]["false_files"] == figures["files"]["shot_recall"] == 0
    assert figures["windows"]["recall_at_threshold"] == figures["windows"]["false_rate_at_threshold"] == 0


def test_a_missing_operating_point_is_named(labelled, project):  # noqa: F811
    Path("operating.json").unlink()
    done = run("evaluate", "in", "--model", "forest.joblib")
    assert "operating.json: no such file; make it with `dvc repro operate`" in str(done.exception)


def test_where_detect_tells_no_shot_it_says_what_came_closest(forest, project):  # noqa: F811
    """A threshold just above it finds none, one just below it the bang that it stood at."""
    rows = run("detect", "shot.wav", "--model", forest, "--scores", "--format", "json").stdout.splitlines()
    highest = max(map(json.loads, rows), key=lambda row: row["score"])
    middle_s = highest["start_s"] + 4096 / SR / 2
    point = highest["score"] + 0.002
    above = run("detect", "shot.wav", "--model", forest, "--threshold", f"{point:.6f}").stdout
    closest = f"highest {highest['score']:.3f} at {middle_s:.1f} s, threshold {point:.3f}"
    assert above == f"shot.wav  no shot ({closest})\n"
    below = run("detect", "shot.wav", "--model", forest, "--threshold", f"{highest['score'] - 0.002:.6f}").stdout
    assert abs(float(below.split()[1]) - 1.0) < 0.010 and abs(middle_s - 1.0) < 0.2


@pytest.mark.slow
def test_the_plot_shows_how_low_an_incident_goes_on_and_is_named(forest, project, monkeypatch):  # noqa: F811
    drawn = {}
    detection = plots.detection
    monkeypatch.setattr(plots, "detection", lambda *args, **kwargs: drawn.update(kwargs) or detection(*args, **kwargs))
    done = run("detect", "shot.wav", "--model", forest, "--plot", "p.png", "--threshold", "0.6")
    hysteresis = params.load("detector").detector.hysteresis
    assert drawn["threshold"] == pytest.approx(0.6)
    assert drawn["goes_on"] == pytest.approx(1 / (1 + (0.4 / 0.6) * np.exp(hysteresis)))
    assert done.stderr == "see p.png\n" and Path("p.png").stat().st_size > 10_000 and "see" not in done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("error:constrained_layout")
@pytest.mark.parametrize("name", ["m$x^$.wav", "\\frac$.wav", "\N{PISTOL}.wav", f"{'n' * 240}.wav"])
def test_a_plot_s_title_is_the_file_s_name_as_it_is(forest, project, name):  # noqa: F811
    Path("shot.wav").rename(name)
    done = run("detect", name, "--model", forest, "--plot", "p.png")
    assert (done.exit_code, done.stderr) == (0, "see p.png\n") and Path("p.png").stat().st_size > 10_000
