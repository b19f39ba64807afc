"""Data Docs: results of `validate` as pages, by Great Expectations' own renderers, that need no network."""

import html
from pathlib import Path
from typing import TYPE_CHECKING

from gunshot.validation import suites

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.render import RenderedSectionContent

TEMPLATE = "data_docs.html.j2"


def _evaluated(entry: dict) -> "ExpectationValidationResult":
    """Return an entry of a result as Great Expectations' own object, its examples as the unexpected values."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    words = f"{entry['severity']} · {entry['column']}: {entry['rule']}"
    configuration = ExpectationConfiguration(
        type=entry["expectation"],
        kwargs=entry["kwargs"],
        severity=entry["severity"],
        description=html.escape(words, quote=False),
    )
    examples = [html.escape(example) for example in entry["examples"]]
    result = {
        "element_count": entry["rows"],
        "unexpected_count": entry["unexpected"],
        "unexpected_percent": entry["unexpected_percent"],
        "partial_unexpected_list": examples,
    }
    passed = {"raised_exception": False, "exception_message": None, "exception_traceback": None}
    return ExpectationValidationResult(
        success=entry["success"], expectation_config=configuration, result=result, meta={}, exception_info=passed
    )


def _overview(result: dict) -> "RenderedSectionContent":
    from great_expectations.render import RenderedSectionContent, RenderedTableContent

    counts = [result["failed"][severity] for severity in suites.SEVERITIES]
    row = ["passed" if result["success"] else "failed", result["evaluated"], *counts]
    header = ["result", "expectations", *(f"{severity} failed" for severity in suites.SEVERITIES)]
    table = RenderedTableContent(table=[row], header_row=header)
    return RenderedSectionContent(section_name="overview", content_blocks=[table])


def _table(name: str, entries: list[dict]) -> "RenderedSectionContent":
    from great_expectations.render import RenderedHeaderContent, RenderedSectionContent
    from great_expectations.render.renderer.content_block import ValidationResultsTableContentBlockRenderer

    ordered = sorted(entries, key=lambda e: e["success"])  # what failed first
    judged = ValidationResultsTableContentBlockRenderer.render([_evaluated(e) for e in ordered])
    heading = RenderedHeaderContent(header=name, subheader=f"{entries[0]['rows']:,} rows")
    return RenderedSectionContent(section_name=name, content_blocks=[heading, judged])


def page(result: dict) -> str:
    """Return a result of `validate` as one HTML page: no script, no other file, the same bytes for the same result.

    It holds counts and the result's examples alone, and links the pages of the other suites beside it.
    """
    from great_expectations.render import RenderedDocumentContent
    from great_expectations.render.view import DefaultJinjaPageView

    by_table: dict[str, list[dict]] = {}
    for entry in result["expectations"]:
        by_table.setdefault(entry["table"], []).append(entry)
    sections = [_overview(result), *(_table(name, entries) for name, entries in by_table.items())]
    document = RenderedDocumentContent(sections=sections, page_title=result["suite"])
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent))
    lines = view.render(document, template=TEMPLATE, suites=suites.NAMES).splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip()) + "\n"
