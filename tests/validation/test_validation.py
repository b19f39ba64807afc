"""Facts against known truth, and Data Docs: what a suite finds is shown, and the page needs nothing else."""

import copy
import re
import subprocess
import sys

import numpy as np
import pytest

from gunshot import validation
from gunshot.base import audio, params
from gunshot.dataset import impulse
from gunshot.validation import suites

SR = 16000


def entry(**given) -> dict:
    common = {"table": "recordings", "expectation": "expect_column_values_to_be_between", "column": "dc_offset"}
    facts = {"severity": "warning", "rule": "should have no DC offset", "success": True, "rows": 2400, "unexpected": 0}
    return (
        common
        | facts
        | {"unexpected_percent": 0.0, "examples": [], "kwargs": {"column": "dc_offset", "max_value": 0.05}}
        | given
    )


def result(*entries: dict) -> dict:
    failed = {s: sum(not e["success"] for e in entries if e["severity"] == s) for s in suites.SEVERITIES}
    success = not failed["critical"]
    return {"suite": "raw", "success": success, "evaluated": len(entries), "failed": failed, "expectations": [*entries]}


@pytest.fixture(scope="module")
def failed() -> dict:
    examples = [f"mine/<b>a & b</b>/$1 {{{{x}}}} {i}.wav: 0.2" for i in range(5)]
    worst = entry(success=False, severity="critical", unexpected=312, unexpected_percent=13.0, examples=examples)
    return result(entry(column="licence", rule="should name its licence"), worst)


@pytest.fixture(scope="module")
def page(failed: dict) -> str:
    return validation.page(failed)


@pytest.mark.slow
def test_page_names_rule_severity_count_and_rows(page):
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    assert "critical · dc_offset: should have no DC offset" in text
    assert "312 unexpected values found. 13% of 2400 total rows." in text
    for i in range(5):
        assert f"mine/&lt;b&gt;a &amp; b&lt;/b&gt;/$1 {{{{x}}}} {i}.wav: 0.2" in text
    assert text.index("should have no DC offset") < text.index("should name its licence"), "what failed comes first"


def test_page_needs_nothing_else(page):
    assert not re.search(r"://|<script|<link|<img|@import|javascript:|<b>", page)
    assert set(re.findall(r'href="([^"#]+)"', page)) == {"../index.html", *(f"{name}.html" for name in suites.NAMES)}


def test_page_is_the_same_for_the_same_result(failed: dict, page):
    assert validation.page(copy.deepcopy(failed)) == page
    changed = copy.deepcopy(failed)
    changed["expectations"][1]["unexpected"] = 313
    assert validation.page(changed) != page


def pulse(at: int, n: int = 4096, *, gain: float = 0.5) -> np.ndarray:
    y = 0.001 * np.random.default_rng(0).standard_normal(n)
    y[at : at + 160] += gain * np.random.default_rng(1).standard_normal(len(y[at : at + 160])) / 4
    return audio.to_int16(y)


def test_rise_is_that_of_the_energy_at_the_onset():
    gain = 0.5
    (rise,) = impulse.rise_db(pulse(1600, gain=gain)[None], np.array([1600]), sr=SR)
    assert rise == pytest.approx(20 * np.log10(gain / 4 / 0.001), abs=1.5)


@pytest.mark.parametrize("off_ms", [-9, 0, 9])
def test_a_tag_may_be_a_little_off(off_ms: int):
    at = np.array([1600 + off_ms * 16])
    assert impulse.rise_db(pulse(1600)[None], at, sr=SR)[0] > 30


def test_no_impulse_no_rise():
    rng = np.random.default_rng(0)
    noise = audio.to_int16(0.1 * rng.standard_normal((1000, 4096)))
    at = rng.integers(200, 3000, len(noise))
    assert np.mean(impulse.rise_db(noise, at, sr=SR) > 3) < 0.01
    assert impulse.rise_db(pulse(1600)[None], np.array([3000]), sr=SR)[0] < 3, "elsewhere than at the onset"


def test_rows_are_measured_alone_and_one_row_at_many_onsets():
    rows, at = np.stack([pulse(800), pulse(1600), pulse(2400)]), np.array([800, 1600, 2400])
    alone = [impulse.rise_db(row[None], at[i : i + 1], sr=SR)[0] for i, row in enumerate(rows)]
    np.testing.assert_array_equal(impulse.rise_db(rows, at, sr=SR), alone)
    many = impulse.rise_db(rows[1][None], at, sr=SR)
    assert many.shape == (3,)
    assert many[1] == alone[1] > 30


@pytest.mark.parametrize("at", [-300, 0, 48, 79, 5000, 10**9])
def test_an_onset_without_room_is_not_judged(at: int):
    """Nor is a shot at which its recording was cut: what lies 5 ms behind its onset is its decay."""
    assert np.isnan(impulse.rise_db(pulse(0)[None], np.array([at]), sr=SR)[0])


def test_digital_silence_does_not_rise():
    assert impulse.rise_db(np.zeros((1, 4096), np.int16), np.array([2000]), sr=SR)[0] == 0


def test_an_unknown_suite_is_refused():
    with pytest.raises(ValueError, match=r"suite='raws' must be one of raw, tags, chunks, split, features"):
        validation.validate("raws", [], p=params.load("validation"))


LEAN = """
import sys
from gunshot.validation.expectations import great_expectations
great_expectations()
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as module
assert not {"altair.vegalite", "scipy.stats._stats_py", "sqlalchemy"} & set(sys.modules)
assert module.stats.entropy([0.5, 0.5], [0.5, 0.5]) == 0
import altair, scipy.stats, sqlalchemy
assert altair.Chart is module.alt.Chart and scipy.stats.entropy is module.stats.entropy and sqlalchemy.select
"""


@pytest.mark.slow
def test_great_expectations_loads_without_what_no_suite_uses():
    subprocess.run([sys.executable, "-c", LEAN], check=True)
