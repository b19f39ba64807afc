"""What models do on held-out chunks, as tables for `dvc plots` and as one page that needs nothing else."""

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
class Section:
    """A part of the page: paragraphs parted by empty lines, then a figure, then a table.

    Columns of two levels get a second row of headings. A figure's label is its text alternative. Links are
    text: file, relative to the page.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None
    links: dict[str, str] = field(default_factory=dict)


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal; what is not quite 0 or 100 % never reads as it."""
    if 0 < value < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= value < 1 else number(100 * value, ".1f", " %")


def number(value: float, spec: str, unit: str = "") -> str:
    """Return a number formatted, with a typographic minus; NOTHING where there is none."""
    return NOTHING if pd.isna(value) else f"{value:{spec}}{unit}".replace("-", MINUS)


three, four = partial(number, spec=".3f"), partial(number, spec=".4f")


def cell(value) -> str:
    """Return a table's value as text."""
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
    """Return a table as text: rows of headings as (text, columns spanned), rows of cells, and which columns count."""
    rows = [[cell(value) for value in row] for row in table.itertuples(index=False, name=None)]
    columns = [c if isinstance(c, tuple) else (c,) for c in table.columns]
    numeric = []
    for i in range(len(columns)):
        told = [row[i] for row in rows if row[i] != NOTHING]
        numeric.append(bool(told) and all(NUMBER.fullmatch(text) for text in told))
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


def write_page(path: Path, template: Path, *, title: str, intro: str, sections: list[Section], **content) -> None:
    """Write a template with sections, and what else it names, as one page; the same bytes for the same content.

    A template may extend or include those of this room, `TEMPLATES`.
    """
    shown = [
        {
            "id": f"s{i}",
            "title": section.title,
            "paragraphs": section.text.split("\n\n") if section.text else [],
            "links": section.links,
            "svg": _svg(section, f"s{i}"),
            "grid": None if section.table is None else _grid(section.table),
        }
        for i, section in enumerate(sections, 1)
    ]
    text = load_template(template).render(title=title, intro=intro.split("\n\n"), sections=shown, **content)
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _svg(section: Section, prefix: str) -> str:
    if section.figure is None:
        return ""
    if not section.figure.get_label():
        section.figure.set_label(section.title)
    return plots.svg(section.figure, prefix=prefix)
