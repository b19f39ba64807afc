"""The judgement: a suite's expectations run by Great Expectations on the facts, as a small, repeatable result."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd

from gunshot.base import imports
from gunshot.validation import facts, suites
from gunshot.validation.facts import FieldSections, Sections
from gunshot.validation.suites import SEVERITIES

SUITES = {
    "raw": (facts.raw, suites.raw),
    "tags": (facts.tagged, suites.tagged),
    "chunks": (facts.chunks, suites.chunks),
    "split": (facts.split, suites.split),
    "features": (facts.features, suites.features),
}
UNUSED = ("altair", "scipy.stats")  # imported by Great Expectations for expectations that no suite here has


def great_expectations() -> ModuleType:
    """Return Great Expectations, without SQLAlchemy and with UNUSED for later: 3 s of CPU for 5."""
    with imports.without("sqlalchemy", later=UNUSED):
        return importlib.import_module("great_expectations")


def _example(row: dict, columns: list[str]) -> str:
    values = (row[c] for c in columns)
    return f"{row['file']}: " + " != ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _entry(table: str, rows: int, validated: dict) -> dict:
    """Return one expectation's outcome from Great Expectations' dictionary of it."""
    config, result = validated["expectation_config"], validated["result"]
    if not result:
        raise RuntimeError(f"{table}: {config['type']} could not be evaluated: {validated['exception_info']}")
    kwargs = {k: v for k, v in config["kwargs"].items() if k != "batch_id"}
    columns = [kwargs[c] for c in ("column", "column_A", "column_B") if c in kwargs]
    return {
        "table": table,
        "expectation": config["type"],
        "column": ", ".join(columns),
        "severity": config["severity"],
        "rule": config["description"],
        "success": validated["success"],
        "rows": rows,
        "unexpected": result["unexpected_count"],
        "unexpected_percent": round(100 * result["unexpected_count"] / max(1, rows), 4),
        "examples": [_example(row, columns) for row in result.get("partial_unexpected_index_list") or []],
        "kwargs": kwargs,
    }


def _judge(tables: dict[str, pd.DataFrame], suite: suites.Suite, *, sample_rows: int) -> list[dict]:
    gx = great_expectations()
    from great_expectations import expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("facts")
    sampled = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": sample_rows,
        "unexpected_index_column_names": ["file"],
    }
    entries = []
    for name, declared in suite.items():
        batch = (
            source.add_dataframe_asset(name)
            .add_batch_definition_whole_dataframe("all")
            .get_batch({"dataframe": tables[name]})
        )
        expectations = [
            getattr(gxe, kind)(**kwargs, severity=severity, description=rule)
            for kind, kwargs, severity, rule in declared
        ]
        validated = batch.validate(gx.ExpectationSuite(name, expectations=expectations), result_format=sampled)
        entries += [_entry(name, len(tables[name]), r.to_json_dict()) for r in validated.results]
    return sorted(entries, key=lambda e: (e["table"], e["column"], e["expectation"]))


def _result(suite: str, tables: dict[str, pd.DataFrame], declared: suites.Suite, *, p: FieldSections) -> dict:
    entries = _judge(tables, declared, sample_rows=p.validation.sample_rows)
    failed = {s: sum(not e["success"] for e in entries if e["severity"] == s) for s in SEVERITIES}
    return {
        "suite": suite,
        "success": failed["critical"] == 0,
        "evaluated": len(entries),
        "failed": failed,
        "expectations": entries,
    }


def validate(suite: str, inputs: Sequence[Path], *, p: Sections) -> dict:
    """Return what a suite, one of `SUITES`, finds in `inputs`: counts, and samples of offending rows.

    The result has the keys suite, success, evaluated, failed (a count for each
    severity) and expectations, the same for the same data: it holds no date and no
    id. `success` is that no critical expectation failed. Nothing is sent anywhere.

    Raises
    ------
    ValueError
        The suite is not known, or a table that it needs is missing or unusable.
    """
    if suite not in SUITES:
        raise ValueError(f"suite={suite!r} must be one of {', '.join(SUITES)}")
    measure, declare = SUITES[suite]
    return _result(suite, measure(*inputs, p=p), declare(p), p=p)


def field(recordings: pd.DataFrame, *, p: FieldSections) -> dict:
    """Return what the suite field finds in devices' recordings, as `validate` does, given what was measured of them.

    `recordings` has the columns file, problem (null where it could be read), peak_db, clipped and dc_offset.
    """
    batch = pd.DataFrame({"file": ["batch"], "readable": [int(recordings["problem"].isna().sum())]})
    return _result("field", {"recordings": recordings, "batch": batch}, suites.field(p), p=p)


def report(result: dict) -> str:
    """Return a result as text: each failed expectation's severity, rule, count and first offending rows, then a sum."""
    lines = []
    for e in sorted(result["expectations"], key=lambda e: SEVERITIES.index(e["severity"])):
        if not e["success"]:
            count = f"{e['unexpected']} of {e['rows']} {e['table']} ({e['unexpected_percent']:g} %)"
            lines.append(f"{e['severity']}: {e['column']}: {e['rule']}: {count} [{e['expectation']}]")
            lines += [f"  {example}" for example in e["examples"]]
    counts = ", ".join(f"{n} {severity}" for severity, n in result["failed"].items())
    return "\n".join([*lines, f"{result['suite']}: {result['evaluated']} expectations, failed: {counts}"])
