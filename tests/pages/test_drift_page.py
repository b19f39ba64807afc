"""Evidently's page of a drift in a real browser, opened from the disk with the network off."""

import numpy as np
import pytest
from playwright.sync_api import expect

from gunshot.field import drift

pytestmark = pytest.mark.slow
MOVED = ("centroid_hz", "rolloff_hz", "band_4000_8000_db")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("drift")
    names = np.repeat([f"r{i}" for i in range(60)], 5)
    reference, batch = (drift.frame(names, rng.standard_normal((300, len(drift.COLUMNS)))) for _ in range(2))
    batch[list(MOVED)] -= 2
    limits = drift.thresholds(reference, n=60, least=0.2, share=0.2, rng=rng)
    compared = drift.snapshot(reference, batch, limits)
    verdict = drift.judge(compared, reference, batch, share=0.2) | {"model": "v1.0.0"}
    drift.save(compared, folder, verdict, name="data/field/<mast 3> & co")
    return folder / "report.html"


def test_the_page_opens_with_the_command_s_verdict_and_the_batch_s_name(page_file, new_page):
    page = new_page()
    page.goto(page_file.as_uri())
    first = page.locator("h1, h2, h3, h4, h5, h6").first
    expect(first).to_have_text("Drift: data/field/<mast 3> & co")
    head = page.locator("header").first
    expect(head).to_contain_text("3 of 13 columns drift: ")
    expect(head).to_contain_text("60 recordings, 300 chunks, measured with v1.0.0")
    expect(head).to_contain_text("Drift is declared where 3 of 13 columns drift at least")
    assert head.bounding_box()["y"] < 100 and page.get_by_text("Drift in column").first.bounding_box()["y"] > 200


def test_the_page_needs_no_network_and_shows_what_drifts(page_file, new_page):
    page = new_page()
    page.context.set_offline(True)
    page.goto(page_file.as_uri())
    expect(page.get_by_text("Drift in column")).to_have_count(len(drift.COLUMNS))
    expect(page.get_by_text("Data drift detected")).to_have_count(len(MOVED))
    expect(page.locator(".main-svg").first).to_be_visible()  # Plotly's own figure
    page.get_by_text("Tests", exact=True).click()
    for column in drift.COLUMNS:
        sign = ">=" if column in MOVED else "<"
        said = page.get_by_text(f"Value drift for {column}: Actual value")
        expect(said).to_contain_text(f" {sign} ")
