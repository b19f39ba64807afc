"""What is reckoned of energy: by hand, of the report's own instructions, and where a processor cannot keep up."""

from pathlib import Path

import pytest

from gunshot.base import params, tables
from gunshot.device import energy

ROOT = Path(__file__).parents[2]


def test_a_million_instructions_by_hand():
    """At one cycle each 64 MHz do them in 1 / 64 s, a quarter of a sixteenth: 3.328 mA there, and 2.05 mA always."""
    drawn = energy.reckon(1_000_000, window_s=1 / 16)
    assert drawn["least"]["busy"] == 0.25 and drawn["most"]["busy"] == 0.5
    assert drawn["least"]["processor_ma"] == pytest.approx(3.328 / 4, abs=0.005)
    assert drawn["most"]["all_ma"] == pytest.approx(2.05 + 3.328 / 2, abs=0.005)
    assert drawn["least"]["window_uj"] == pytest.approx(3 * 3.328e3 / 64, abs=0.05)
    assert drawn["least"]["day_mah"] == pytest.approx(24 * (2.05 + 0.832), abs=0.1)
    assert drawn["least"]["day_j"] == pytest.approx(drawn["least"]["day_mah"] * 3.6 * 3, rel=0.005)


def test_the_report_holds_what_its_own_instructions_give():
    report, p = (
        tables.read_json(ROOT / "reports/firmware.json"),
        params.load("audio", "features", "detector", path=ROOT / "params.yaml"),
    )
    total = report["ports"][energy.BOARD]["instructions"]["total"]
    window_s = p.detector.hop * p.features.hop_length / p.audio.sr
    assert report["energy"] == energy.reckon(total, window_s=window_s)


def test_one_that_cannot_keep_up_runs_always_and_says_so():
    drawn = energy.reckon(3_000_000, window_s=0.056)["most"]
    assert drawn["busy"] == pytest.approx(1.674, abs=0.001) and drawn["processor_ma"] == 3.33


@pytest.mark.parametrize(("instructions", "window_s"), [(0, 0.056), (-1, 0.056), (1_000, 0.0)])
def test_what_was_not_counted_is_refused(instructions, window_s):
    with pytest.raises(ValueError, match=r"instructions=.*, window_s=.* must be above 0: count them first"):
        energy.reckon(instructions, window_s=window_s)
