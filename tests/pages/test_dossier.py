"""The dossier in a real browser, with the network off: it says what the gates say, plays, prints, and loads nothing."""

import hashlib
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from gunshot.base import tables
from gunshot.promotion import dossier, gates, review
from tests import candidates

pytestmark = pytest.mark.slow


def dossier_of(folder: Path, comparison: dict, licence_of: dict | None = None, **values) -> Path:
    facts = candidates.facts(comparison, **values)
    judged = gates.judge(facts, candidates.P.promotion)
    dossier.write(folder, facts, judged, heard=folder / "streams", licence_of=licence_of or {}, p=candidates.P)
    return folder / dossier.PAGE


@pytest.fixture
def compared(tmp_path, monkeypatch) -> dict:
    """A candidate that hears loud shots alone, and a champion that hears all."""
    return candidates.compared(tmp_path, monkeypatch, candidate=3.0, champion=0.0)


@pytest.fixture
def opened(compared, tmp_path, new_page):
    path = dossier_of(tmp_path, compared, firmware=None)
    page = new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.context.set_offline(True)
    page.goto(path.as_uri())
    yield page
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]


def test_the_decision_and_every_gate_are_stated(opened, tmp_path):
    written = candidates.read(tmp_path / dossier.GATES)
    expect(opened.locator("header")).to_contain_text(
        f"put commit {candidates.COMMIT[:12]} into production, in place of v1.0.0"
    )
    rows = opened.locator("#gates tbody tr")
    expect(rows).to_have_count(len(written["gates"]))
    failed = [gate["name"] for gate in written["gates"] if not gate["passed"]]
    assert {"recall", "recall-slices", "parity-model", "instructions"} <= set(failed)
    assert opened.locator("#gates tr.bad th").all_text_contents() == failed
    command = opened.locator("#decide code").first.text_content()
    assert all((f"--overrule {name}=REASON" in command) == (name != "parity-model") for name in failed)
    expect(opened.locator("#decide")).to_contain_text("No reason overrules parity-model")
    expect(opened.locator("main")).to_contain_text("Another <b>seed</b>")
    expect(opened.locator("#decide")).to_contain_text("gunshot demo --candidate CANDIDATE")
    expect(opened.locator("#decide")).to_contain_text("with the champion beside it")
    assert (
        opened.locator("#decide a").get_attribute("href") == "http://localhost:5007/"
    )  # of `gunshot demo`, by default
    assert opened.locator("script").count() == opened.locator("link").count() == 0


def test_the_first_screen_has_question_verdict_figures_curve_and_sounds_and_the_review_stays_in_sight(opened, tmp_path):
    written = candidates.read(tmp_path / dossier.GATES)
    failed = [gate["name"] for gate in written["gates"] if not gate["passed"]]
    first = opened.locator("#first")
    passed = len(written["gates"]) - len(failed)
    expect(first.locator("h2").first).to_contain_text(f"{passed} of {len(written['gates'])} gates passed")
    expect(first.locator("h2").first).to_contain_text(f"{len(written['small'])} slices have too few cases")
    assert first.locator("li b").all_text_contents() == failed
    assert first.locator("#beside tbody tr").first.locator("td").all_text_contents() == ["50.0 %", "100.0 %"]
    assert first.locator("#curve svg").is_visible() and first.locator("audio").count() == 2
    expect(first.locator(".players li.woke")).to_contain_text("door")
    expect(first.locator("#fools")).to_contain_text("no person was recorded")
    assert opened.locator("#decide code").first.is_visible() and opened.locator("#decide .axes").is_visible()
    assert opened.locator("details").count() > 10 and opened.locator("details[open]").count() == 0
    assert opened.locator("#gates table").is_hidden()


def test_what_differs_is_unfolded_heard_and_seen(opened):
    opened.get_by_text("What they decide differently").click()
    cards = opened.locator("#different .card")
    expect(cards).to_have_count(dossier.PLAYED)
    expect(cards.first).to_contain_text("champion alone: against the candidate")
    assert cards.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 100)")
    for sound in (cards.locator("audio").first, opened.locator("#fools audio").first):
        sound.evaluate("sound => sound.play()")
        opened.wait_for_function("sound => sound.currentTime > 0.1", arg=sound.element_handle())
        assert sound.evaluate("sound => sound.duration") == pytest.approx(1.5)


def test_it_fits_a_telephone_and_paper(opened):
    printed = opened.pdf(prefer_css_page_size=True)
    assert 4 <= len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 12
    opened.emulate_media(media="print")
    opened.set_viewport_size({"width": 690, "height": 1000})  # A4 less its margins
    wide = "() => [...document.querySelectorAll('table, figure svg')].filter(e => e.scrollWidth > innerWidth).length"
    assert opened.evaluate(wide) == 0
    hidden = "all => all.filter(one => one.offsetHeight < 20 || !one.checkVisibility({contentVisibilityAuto: true}))"
    folded = opened.locator("details > section")
    assert folded.count() > 10 and folded.evaluate_all(f"all => ({hidden})(all).length") == 0  # paper cannot unfold
    assert opened.locator("#gates table").is_visible() and opened.locator("audio").evaluate_all(
        "all => all.every(one => getComputedStyle(one).display === 'none')"
    )
    opened.emulate_media(media="screen")
    opened.set_viewport_size({"width": 420, "height": 800})
    opened.wait_for_function("() => document.documentElement.scrollWidth <= 420")


def test_the_same_facts_give_the_same_bytes_and_the_gates_its_hash(compared, tmp_path):
    path = dossier_of(tmp_path, compared)
    first = path.read_bytes()
    assert dossier_of(tmp_path, compared).read_bytes() == first
    written = candidates.read(tmp_path / dossier.GATES)
    assert written["dossier"] == hashlib.sha256(first).hexdigest()
    assert (written["candidate"], written["champion"]) == (candidates.COMMIT, "v1.0.0")
    assert written["small"][:2] == ["place=mall", "place=park"] and "negative=door" in written["small"]
    review.decide(tmp_path, "reject", by="Ada", reason="misses soft shots")
    with pytest.raises(ValueError, match="it was reviewed"):
        dossier_of(tmp_path, compared)
    assert path.read_bytes() == first


def test_the_first_candidate_has_nothing_beside_it(tmp_path, monkeypatch, new_page):
    compared = candidates.compared(tmp_path, monkeypatch, candidate=0.0, champion=None)
    page = new_page()
    page.goto(dossier_of(tmp_path, compared, champion=None, champion_commit=None, drift=None).as_uri())
    expect(page.locator("header")).to_contain_text("as the first model there")
    expect(page.locator("#gates")).to_contain_text("There is no champion to compare with.")
    expect(page.locator("#different")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("No drift report was given")


@pytest.mark.parametrize("licence, heard", [("CC BY-NC 3.0", 6), (None, 6), ("CC0-1.0", 12)])
def test_what_its_licence_keeps_out_is_not_inside(compared, tmp_path, licence, heard):
    events = tmp_path / "streams/events.csv"
    table = tables.read(events, tables.STREAM_EVENT)
    table["recording"] = table["path"].map({"a.wav": "mine/dog.wav"}).fillna("")  # behind its shots
    tables.write(events, table)
    page = dossier_of(tmp_path, compared, {"mine/dog.wav": licence} if licence else {}).read_text()
    different = page.partition('id="different"')[2]
    assert different.count("data:audio/flac") == different.count("data:image/png") == heard
    assert page.count("Its licence keeps it out") == dossier.PLAYED - heard


def test_the_dossier_is_as_in_the_documentation(opened, tmp_path):
    """`make pictures` keeps its picture."""
    opened.set_viewport_size({"width": 1100, "height": 1350})
    file = Path(os.environ.get("PICTURES", tmp_path)) / "dossier.png"
    opened.screenshot(path=file)
    assert file.stat().st_size > 50_000
