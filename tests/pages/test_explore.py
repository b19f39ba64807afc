"""The page of gunshot explore in a real browser, opened from the disk with the network off."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from gunshot import features, tags
from gunshot.base import audio, params, tables
from gunshot.dataset import chunks

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
P = params.load("audio", "features", path=ROOT / "params.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small project as the stages leave it: recordings, tags, chunks, features, predictions."""
    root, rng = tmp_path_factory.mktemp("explore"), np.random.default_rng(0)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    rows, cut, sides = [], [], []
    for i in range(48):
        class_ = "gun" if i % 2 else "env"
        source = "simulated" if i < 24 else "street & <b>yard</b>"
        path = f"c/{class_}/{'rifle' if i % 2 else 'wind'}/{i}.wav"
        y = 0.05 * rng.standard_normal(16000)
        y[3000:3600] += (i % 2) * 0.6 * rng.standard_normal(600)
        pcm = audio.to_int16(np.clip(y, -1, 0.99))
        audio.write_pcm(root / "data/raw" / path, pcm, sr=16000)
        rows.append({
            "path": path, "class": class_, "label": path.split("/")[2], "recording_group": f"g{i}", "source": source,
            "upstream": "u", "licence": "own", "sr_found": 16000, "duration_s": 1.0, "sha256": str(i),
        })  # fmt: skip
        starts = np.array([0, 2000, 6000])
        part = pd.DataFrame(chunks.rows(rows[-1], starts, np.array([-1, 1000, -1])))
        audio.write_pcm(root / "data/chunks" / path, chunks.cut(pcm, starts, chunk_length=4096).ravel(), sr=16000)
        cut.append(part)
        sides.append(("train", "train", "val", "test")[i // 2 % 4])
    tables.write(root / "data/raw/c/recordings.csv", tables.frame(rows, tables.RECORDING))
    tags.write(root / "data/tagged/tags.csv", {row["path"]: [tags.Tag(3000)] for row in rows if row["class"] == "gun"})
    tables.write(root / "data/chunks/chunks.csv", pd.concat(cut))
    for side in ("train", "val", "test"):
        table = pd.concat([part for part, at in zip(cut, sides, strict=True) if at == side], ignore_index=True)
        pcm = chunks.load(root / "data/chunks", table, sr=16000, chunk_length=4096)
        (root / "data/features").mkdir(exist_ok=True)
        np.save(root / f"data/features/{side}.npy", features.log_mel(pcm, sr=16000, **P.features.model_dump()))
        tables.write(root / f"data/features/{side}.csv", table)
        if side == "test":
            y = (table["class"] == "gun").astype(int)
            tables.write(root / "reports/predictions.csv", table.assign(y=y, int8=rng.uniform(size=len(y))))
    return root


def explore(root: Path, *options: str) -> str:
    command = [sys.executable, "-c", "from gunshot.cli import main; main()", "explore", *options]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page_file(project):
    said = explore(project)
    assert "leakage gap, simulated" in said and "leakage gap, real" in said and "leakage gap, all" in said
    return project / "reports/explore.html"


def test_two_runs_give_the_same_bytes_and_the_figures_are_right(project, page_file, tmp_path):
    explore(project, "--out", str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == page_file.read_bytes()
    figures = json.loads(page_file.with_suffix(".json").read_text())
    recordings = tables.recordings(project / "data/raw")
    for row in figures["overview"]:
        own = recordings[(recordings["class"] == row["class"]) & (recordings["source"] == row["source"])]
        assert (row["recordings"], row["groups"]) == (len(own), own["recording_group"].nunique())
        levels = []
        for path in own["path"]:
            y = audio.read_pcm(project / "data/raw" / path, sr=16000) / 32768
            levels.append(20 * np.log10(np.sqrt((y**2).mean())))
        assert row["level, dBFS RMS, 50%"] == pytest.approx(np.median(levels), abs=1e-3)
    for gap in figures["leakage"].values():
        assert gap["gap"] == pytest.approx(gap["random"]["accuracy"] - gap["grouped"]["accuracy"])


def test_the_page_needs_no_network_and_shows_everything(page_file, new_page):
    page = new_page()
    page.context.set_offline(True)
    page.goto(page_file.as_uri())
    expect(page.locator("section")).to_have_count(7)
    expect(page.locator(".bk-Figure").first).to_be_visible()
    expect(page.locator("section", has_text="Leakage gap").locator("tbody tr")).to_have_count(3)
    hard = page.locator("section", has_text="Hard chunks").locator(".examples")
    expect(hard).to_have_count(8)
    expect(hard.first.locator("figure")).to_have_count(4)
    expect(page.locator("h1")).to_have_text("The data")
    assert "<b>yard</b>" not in page.locator("table").first.inner_html()
    assert page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth == 33 || one.naturalWidth > 100)")


def test_a_player_plays_and_a_legend_hides(page_file, new_page):
    page = new_page()
    page.goto(page_file.as_uri())
    page.locator("audio").first.evaluate("sound => sound.play()")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.1")
    page.get_by_role("link", name="A map of the chunks").click()
    hidden = """() => [...Bokeh.documents[0]._all_models.values()].filter(
      (model) => model.type == "GlyphRenderer" && !model.visible).length"""
    assert page.evaluate(hidden) == 0
    page.locator(".bk-tab", has_text="source").click()
    page.locator(".bk-Legend").get_by_text("simulated", exact=True).locator("visible=true").last.click()
    assert page.evaluate(hidden) == 1
    page.set_viewport_size({"width": 420, "height": 800})
    page.wait_for_function("() => document.documentElement.scrollWidth <= 420")


def test_what_is_not_made_yet_is_left_out_by_name(project, tmp_path, new_page):
    bare = tmp_path / "bare"
    shutil.copytree(project / "data/raw", bare / "data/raw")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, bare)
    explore(bare)
    page = new_page()
    page.goto((bare / "reports/explore.html").as_uri())
    expect(page.locator("main")).to_contain_text("Not there yet: dvc repro makes what this needs.")
