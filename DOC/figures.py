"""Writes every figure that a report file holds into DOC/figures.md and README.md's table: `make figures`."""

from pathlib import Path

import jinja2

from gunshot.base import tables
from gunshot.base.files import atomic
from gunshot.report.page import NOTHING, four, number, percent, three

BEGIN, END = "<!-- written by `make figures` -->\n", "<!-- end of what `make figures` wrote -->\n"


def rate(value: float | None) -> str:
    """Return a rate per hour with two digits, a large one as a whole number."""
    return NOTHING if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def seconds(value: float | None) -> str:
    """Return a time in s with two decimals."""
    return NOTHING if value is None else f"{value:.2f} s"


def short(count: float) -> str:
    """Return a count as 1.24 M, 2.0 k or 7."""
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count / 1e3:.1f} k" if count >= 1e3 else f"{count}"


def kilobytes(count: float | None) -> str:
    """Return bytes in kB, of 1,000."""
    return NOTHING if count is None else f"{count / 1000:.1f} kB"


def points(share: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return number(100 * share, "+.2f", " points")


def reports(root: Path) -> dict:
    """Return the report files by name, and by folder of the model those that lie beside one."""
    by_name = {path.stem: tables.read_json(path) for path in sorted(root.glob("reports/*.json"))}
    beside = sorted(root.glob("models/*/*.json"))
    models = {path.parent.name: {} for path in beside}
    for path in beside:
        models[path.parent.name][path.stem] = tables.read_json(path)
    return {**by_name, "models": models}


def documents(root: Path) -> dict[Path, str]:
    """Return the whole text of the two documents, by path.

    Raises
    ------
    ValueError
        README.md has not both of the comments between which its table stands.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(root / "DOC"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {each.__name__: each for each in (rate, seconds, short, kilobytes, points, percent)}
    environment.filters |= {"three": three, "four": four}
    content = reports(root)
    readme = (root / "README.md").read_text()
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{root / 'README.md'}: the comments {BEGIN.strip()} and {END.strip()} must both be there")
    table = environment.get_template("headline.md.j2").render(content)
    figures = environment.get_template("figures.md.j2").render(content)
    return {root / "README.md": f"{before}{BEGIN}\n{table}\n{END}{after}", root / "DOC" / "figures.md": figures}


def main() -> None:
    """Write both documents."""
    for path, text in documents(Path(__file__).parents[1]).items():
        with atomic(path) as part:
            part.write_text(text)
        print(path.name, "written from the report files")


if __name__ == "__main__":
    main()
