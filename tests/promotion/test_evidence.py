"""Evidence of an earlier version, which counted false onsets, is refused by file, key and remedy."""

import re

import pytest

from gunshot.base import tables
from gunshot.promotion import evidence
from tests.candidates import ROOT

RATE = "false_incidents_per_hour"
CANDIDATE = {"models": {"candidate": {"operating": {"fa_per_hour_limit": 0.5}}}}


@pytest.mark.parametrize(
    ("compared", "error"),
    [
        ({"false_alarms": {}}, "comparison.json: false_incidents must be stated; run `gunshot compare` anew"),
        ({"false_incidents": {}} | CANDIDATE,
         f"operating.json: {RATE}_limit must be stated; make it with `dvc repro operate` anew"),
    ],
)  # fmt: skip
def test_a_comparison_by_onsets_is_refused(tmp_path, compared, error):
    tables.write_json(tmp_path / "comparison.json", compared)
    with pytest.raises(ValueError, match=re.escape(error)):
        evidence.gather(tmp_path, champion=None, root=ROOT)


def test_a_report_on_streams_by_onsets_is_refused(tmp_path):
    path = tmp_path / "streams.json"
    assert evidence.streams(path) is None
    change = {"recall_drop": 0.0, "fa_per_hour_within_bound": True}
    tables.write_json(path, {"int8_against_float": {"simulated": change}})
    with pytest.raises(
        ValueError, match=rf"streams\.json: {RATE}_within_bound must be stated; make it with `dvc repro`"
    ):
        evidence.streams(path)
    stated = {"int8_against_float": {"simulated": change | {f"{RATE}_within_bound": True}}}
    tables.write_json(path, stated)
    assert evidence.streams(path) == stated
