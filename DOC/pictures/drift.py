"""Takes the picture of DOC/operations.md: python DOC/pictures/drift.py, after `dvc repro`, in the project's folder.

The batch is 200 simulated recordings that training never heard, through a microphone that ends at 4 kHz.
"""

import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from scipy import signal

from gunshot.base import audio, params, pipeline, tables
from gunshot.field import drift
from gunshot.simulate import corpus

OUT = Path(__file__).with_name("drift.png")
RECORDINGS, SEED, TOP_HZ = 200, 90_210, 4000


def batch(folder: Path, p):
    """Return the rows of drift.REFERENCE of the batch, whose recordings are written to `folder`."""
    simulated = corpus.Corpus(SEED, p.simulate.duration_s, p.simulate.distance_m, p.audio.sr)
    sos = signal.butter(8, TOP_HZ, fs=p.audio.sr, output="sos")
    for i in range(RECORDINGS):
        y = signal.sosfilt(sos, audio.to_float(corpus.render("env", i, simulated).pcm))
        audio.write_pcm(folder / f"{i:03d}.wav", audio.to_int16(y), sr=p.audio.sr)
    listed = {path.name: path for path in sorted(folder.glob("*.wav"))}
    facts, values = zip(*drift.of_recordings(listed, pipeline.models()["int8"], p, workers=2), strict=True)
    names = np.repeat([row["file"] for row in facts], [row["chunks"] for row in facts])
    return drift.frame(names, np.concatenate(values))


def main() -> None:
    """Compare the batch with the project's own reference, and take the picture of the tests."""
    p = params.load("audio", "chunks", "context", "features", "simulate", "monitor")
    reference = tables.read(pipeline.output("reference"), drift.REFERENCE)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        heard = batch(Path(name), p)
        n, m = drift.effective(heard["recording"]), p.monitor
        rng = np.random.default_rng(m.seed)
        limits = drift.thresholds(reference, n=n, least=m.min_distance, share=m.min_share, rng=rng)
        compared = drift.snapshot(reference, heard, limits)
        verdict = drift.judge(compared, reference, heard, share=m.min_share) | {"model": "the working tree's model"}
        drift.save(compared, Path(name), verdict, name="a microphone that ends at 4 kHz")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1010})
        page.goto(Path(name, "report.html").as_uri())
        page.get_by_text("Tests", exact=True).click()
        page.get_by_text("Value drift for alarm: Less").wait_for()
        page.screenshot(path=OUT)
        browser.close()


if __name__ == "__main__":
    main()
