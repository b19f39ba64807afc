"""One page of HTML that needs no other file: chapters of text, figures and tables, written by a template."""

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from gunshot.base.files import atomic
from gunshot.report import plots

TEMPLATES = Path(__file__).with_name("templates")
NOTHING, MINUS = "\u2013", "\u2212"  # an en dash and the typographic minus
NUMBER = re.compile(rf"[<>+{MINUS}-]?[\d,]*\.?\d+(e[+-]?\d+)?( %)?")


@dataclass(frozen=True)
class Chapter:
    """A part of a page: paragraphs, then a figure, then a table. Pages show it folded, `open` ones unfolded.

    An empty line ends a paragraph. A table whose columns have two levels gets two rows of headings. A figure's label
    is its text alternative. `links` are names of links and the files that they lead to, relative to the page.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    links: dict[str, str] = field(default_factory=dict)
    open: bool = False


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal. Only 0 reads as 0.0 %, and only 1 as 100.0 %."""
    if 0 < value < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= value < 1 else number(100 * value, ".1f", " %")


def number(value: float, spec: str, unit: str = "") -> str:
    """Return a number as text with a typographic minus, NOTHING for NaN and None."""
    return NOTHING if pd.isna(value) else f"{value:{spec}}{unit}".replace("-", MINUS)


three, four = partial(number, spec=".3f"), partial(number, spec=".4f")


def cell(value) -> str:
    """Return a value of a table as text, NOTHING where it is empty, missing or infinite."""
    match value:
        case str():
            return value or NOTHING
        case bool() | np.bool_():
            return "yes" if value else "no"
        case int() | np.integer():
            return f"{value:,}"
        case float() | np.floating() if np.isinf(value):
            return NOTHING
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _grid(table: pd.DataFrame) -> dict:
    """Return a table as a template shows it: all cells as text.

    ``groups`` is the upper row of headings, each with the number of columns that it spans; ``first`` are the columns
    with which such a group begins; ``names`` is the lower row of headings; ``rows`` are the cells; ``numeric`` says of
    each column whether it holds numbers alone.
    """
    rows = [[cell(value) for value in row] for row in table.itertuples(index=False, name=None)]
    columns = [c if isinstance(c, tuple) else (c,) for c in table.columns]
    numeric = []
    for i in range(len(columns)):
        known = [row[i] for row in rows if row[i] != NOTHING]
        numeric.append(bool(known) and all(NUMBER.fullmatch(text) for text in known))
    groups = []
    for column in columns if columns and len(columns[0]) == 2 else ():
        if groups and groups[-1][0] == column[0]:
            groups[-1][1] += 1
        else:
            groups.append([column[0], 1])
    first = {sum(span for _, span in groups[:i]) for i in range(1, len(groups))}
    return {"groups": groups, "first": first, "names": [c[-1] for c in columns], "rows": rows, "numeric": numeric}


def load_template(path: Path) -> Template:
    """Return a template of HTML, which may extend or include those in `TEMPLATES`."""
    environment = Environment(
        loader=FileSystemLoader([path.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)


def shown(chapter: Chapter, name: str) -> dict:
    """Return a chapter as templates take it: id, title, open, paragraphs, links, svg ("" for none), grid (or None).

    `name` is the chapter's id, and leads the ids in its figure: it must be unique in the page.
    """
    return {
        "id": name,
        "title": chapter.title,
        "open": chapter.open,
        "paragraphs": chapter.text.split("\n\n") if chapter.text else [],
        "links": chapter.links,
        "svg": _svg(chapter, name),
        "grid": None if chapter.table is None else _grid(chapter.table),
    }


def write_page(path: Path, template: Path, *, title: str, chapters: list[Chapter], **content) -> None:
    """Write one page: a template, which may use those in `TEMPLATES`, filled with chapters and with `content`.

    The same content gives the same bytes.
    """
    parts = [shown(chapter, f"s{i}") for i, chapter in enumerate(chapters, 1)]
    text = load_template(template).render(title=title, chapters=parts, **content)
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _svg(chapter: Chapter, prefix: str) -> str:
    if chapter.figure is None:
        return ""
    if not chapter.figure.get_label():
        chapter.figure.set_label(chapter.title)
    return plots.svg(chapter.figure, prefix=prefix)
