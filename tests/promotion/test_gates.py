"""Gates: each passes at its limit, fails beyond it, and refuses what was not measured."""

import copy
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.promotion import gates
from tests.candidates import PARITY, PORT, REPORT, SOURCES, P, facts

LIMITS = P.promotion
FIGURES = {"hours": 10.0, "false_incidents": 2, "false_onsets": 30, "false_incidents_per_hour_upper": 0.63}
SLICE = {"name": "place=mall", "cases": 50, "small": False, "p": 0.5, "p_holm": 0.9}
MADE = {
    "same": False, "figures": {"simulated": {"candidate": FIGURES}, "real": {"candidate": FIGURES}},
    "recall": {"cases": 100, "candidate": 90, "champion": 88, "lost": 3, "won": 5, "p": 0.9, "difference_lower": -0.1},
    "false_incidents": {"hours": 10.0, "candidate": 2, "champion": 3, "p": 0.8},
    "slices": [{**SLICE}, SLICE | {"name": "weapon=M16", "small": True, "p_holm": None}], "negatives": [{**SLICE}],
}  # fmt: skip


def judged(content: dict | None = None, **values) -> dict[str, gates.Gate]:
    results = gates.judge(facts(content or MADE, **values), LIMITS)
    assert len({gate.name for gate in results}) == len(results)
    return {gate.name: gate for gate in results}


def changed(*keys, to) -> dict:
    content = copy.deepcopy(MADE)
    at = content
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = to
    return content


def failed(results: dict[str, gates.Gate]) -> set[str]:
    return {name for name, gate in results.items() if not gate.passed}


def test_a_candidate_without_fault_passes_all():
    results = judged()
    assert failed(results) == set()
    assert all(asdict(gate)["text"] for gate in results.values())


STREAMS = {"simulated": {"recall_drop": 0.001, "false_incidents_per_hour_within_bound": True}}


def against(**values) -> dict:
    return {"int8_against_float": {"simulated": STREAMS["simulated"] | values}}


def port(**values) -> dict:
    return {"host": PORT, "mps2-an386": PORT | {"parity": PARITY | values}}


def suite(**values) -> list[dict]:
    return [{"suite": "raw", "success": True, "failed": {"critical": 0, "warning": 0, "info": 0}} | values]


CASES = [
    (changed("same", to=True), {}, {"new"}),
    (changed("recall", "p", to=0.049), {}, {"recall"}),
    (changed("recall", "cases", to=0), {}, {"recall"}),
    (changed("slices", 0, "p_holm", to=0.049), {}, {"recall-slices"}),
    (changed("negatives", 0, "p_holm", to=0.049), {}, {"false-incident-slices"}),
    (changed("false_incidents", "p", to=0.049), {}, {"false-incidents"}),
    (changed("figures", "real", "candidate", to=FIGURES | {"false_incidents_per_hour_upper": 1.01}), {},
     {"false-incident-bound"}),
    (changed("figures", to={"simulated": {"candidate": FIGURES | {"hours": 0.0}}}), {}, {"false-incident-bound"}),
    (MADE, {"changed": ["gunshot/alarms.py"]}, {"code"}),
    (MADE, {"stale": ["train_network"]}, {"data"}),
    (MADE, {"validation": []}, {"validation"}),
    (MADE, {"validation": suite(success=False)}, {"validation"}),
    (MADE, {"validation": suite(failed={"critical": 1, "warning": 0, "info": 0})}, {"validation"}),
    (MADE, {"groups": {"train": {"a"}, "val": {"b"}, "test": {"c", "a"}}}, {"groups"}),
    (MADE, {"groups": {"train": {"a"}, "val": {"b"}, "test": set()}}, {"groups"}),
    (MADE, {"sources": [*SOURCES, SOURCES[0] | {"licence": "unknown", "recordings": 1}]}, {"licences"}),
    (MADE, {"sources": [SOURCES[0] | {"licence": ""}]}, {"licences"}),
    (MADE, {"sources": []}, {"licences"}),
    (MADE, {"streams": None}, {"int8"}),
    (MADE, {"streams": {"int8_against_float": {}}}, {"int8"}),
    (MADE, {"streams": against(recall_drop=0.0051)}, {"int8"}),
    (MADE, {"streams": against(false_incidents_per_hour_within_bound=False)}, {"int8"}),
    (MADE, {"seeds": None}, {"seeds"}),
    (MADE, {"seeds": {"recall": {"simulated": [0.9, 0.9]}}}, {"seeds"}),
    (MADE, {"seeds": {"recall": {"simulated": [0.9, 0.9, 0.9], "real": [0.9, 0.9]}}}, {"seeds"}),
    (MADE, {"seeds": {"recall": {"simulated": [0.9, 0.92, 0.96]}}}, {"seeds"}),
    (MADE, {"seeds": {"recall": {"simulated": [0.9, 0.9, 0.9], "real": [0.0, 0.1, 0.05]}}}, {"seeds"}),
    (MADE, {"firmware": None}, {"parity-model", "parity-features", "parity-onsets", "instructions"}),
    (MADE, {"firmware": port(mismatched_bytes=1)}, {"parity-model"}),
    (MADE, {"firmware": port(windows=0)}, {"parity-model"}),
    (MADE, {"firmware": port(differing_codes=11)}, {"parity-features"}),
    (MADE, {"firmware": port(differing_onsets=1)}, {"parity-onsets"}),
    (MADE, {"firmware": port(onsets=0)}, {"parity-onsets"}),
    (MADE, {"firmware": {"mps2-an386": PORT | {"instructions": {"total": 1_300_001}}}}, {"instructions"}),
    (MADE, {"firmware": {"host": PORT}}, {"instructions"}),
    (MADE, {"report": REPORT | {"bytes": 30_001}}, {"bytes"}),
    (MADE, {"report": REPORT | {"arena_bytes": 16_385}}, {"arena"}),
]  # fmt: skip


@pytest.mark.parametrize("content, values, expected", CASES)
def test_each_fault_fails_its_gate_and_no_other(content, values, expected):
    assert failed(judged(content, **values)) == expected


def test_each_gate_fails_in_a_case_here():
    assert set(judged()) == set().union(*(expected for *_, expected in CASES))


def test_at_its_limit_a_gate_passes():
    content = changed("recall", "p", to=LIMITS.alpha)
    content["figures"]["real"]["candidate"] = FIGURES | {
        "false_incidents_per_hour_upper": LIMITS.max_false_incidents_per_hour
    }
    firmware = {LIMITS.board: PORT | {"instructions": {"total": LIMITS.max_instructions}}}
    values = {
        "streams": against(recall_drop=LIMITS.max_int8_drop),
        "seeds": {"recall": {"simulated": [0.5, 0.5, 0.55], "real": [0, 0, 0.05]}},
    }
    report = REPORT | {"bytes": LIMITS.max_bytes, "arena_bytes": LIMITS.max_arena_bytes}
    assert failed(judged(content, firmware=firmware, report=report, **values)) == set()


def test_the_first_model_is_compared_with_none():
    nothing = {"champion": None, "p": None}
    content = copy.deepcopy(MADE)
    content["recall"] |= nothing | {"lost": None, "won": None, "difference_lower": None}
    content["false_incidents"]["p"] = None
    for row in [*content["slices"], *content["negatives"]]:
        row |= nothing | {"p_holm": None}
    results = judged(content)
    assert failed(results) == set() and "no champion" in results["recall-slices"].figure
    content["figures"]["real"]["candidate"] = FIGURES | {"false_incidents_per_hour_upper": 2.0}
    assert failed(judged(content)) == {"false-incident-bound"}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_slices_fail_where_one_that_was_tested_is_worse(p, small):
    rows = [
        SLICE | {"name": f"place={i}", "small": few, "p_holm": None if few else value}
        for i, (value, few) in enumerate(zip(p, small, strict=False))
    ]
    gate = gates.slices("s", rows, "Recall is", alpha=0.05)
    bad = [row["name"] for row in rows if not row["small"] and row["p_holm"] < 0.05]
    assert gate.passed == (not bad) and all(name in gate.text for name in bad)
