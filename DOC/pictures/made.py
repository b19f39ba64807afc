"""What each picture shows, and which are older than that: `python DOC/pictures/made.py PICTURE...` notes new ones.

made.json holds, by picture, a hash of its sources when it was taken: pages, templates and plots, not the data in them.
`make pictures` renews both.
"""

import ast
import hashlib
import sys
from pathlib import Path

from gunshot.base import tables

FOLDER = "DOC/pictures"
PAGES = ["gunshot/report/templates/*", "gunshot/report/page.py"]
SIMULATED = ["gunshot/simulate/*.py", f"{FOLDER}/simulator.py"]
CONSOLE = [f"gunshot/hub/console/{name}" for name in ("*.py", "templates/*", "static/*.*")]
DEMO = ["gunshot/pages/demo/static/*", "gunshot/pages/demo/shots.py"]
SHOWS = {  # picture: patterns of sources; none where no command takes it
    "annotate.png": [f"gunshot/pages/{name}.py" for name in ("annotate", "canvas", "drawing", "editing", "keys")],
    "console_case.png": CONSOLE,
    "console_devices.png": CONSOLE,
    "console_phone.png": CONSOLE,
    "demo.png": DEMO,
    "demo_phone.png": DEMO,
    "deployments.png": ["flows/serve.py"],
    "detect.png": ["gunshot/report/plots.py"],
    "dossier.png": ["gunshot/promotion/dossier.*", "gunshot/promotion/gates.py", *PAGES],
    "drift.png": ["gunshot/field/drift.py", f"{FOLDER}/drift.py"],
    "explore.png": ["gunshot/pages/explore.*", "gunshot/pages/charts.py", *PAGES],
    "firmware.svg": [],  # drawn by hand
    "fusion.png": ["gunshot/hub/fusion.py", "gunshot/hub/worlds.py", f"{FOLDER}/fusion.py"],
    "forest_size.png": [],  # a study of its day, see DOC/experiments.md
    "location.png": [
        *(f"gunshot/hub/{name}.py" for name in ("cities", "explanations", "location")),
        f"{FOLDER}/location.py",
    ],
    "report.png": ["gunshot/report/*.py", *PAGES],
    "review_form.png": ["flows/review.py"],
    "simulator_angle.png": SIMULATED,
    "simulator_distance.png": SIMULATED,
    "simulator_real.png": SIMULATED,
    "simulator_scene.png": SIMULATED,
    "places.png": ["tests/site/bench.py", "tests/site/places.py"],
    "scale.png": ["tests/stages/scale.py"],
    "site.png": ["gunshot/site/plot.py", f"{FOLDER}/sites.py"],
}
COMMAND = {  # of others `make pictures`
    "simulator_real.png": "make pictures RECORDING=a real shot's wav",
    "places.png": "make bench-site",
    "scale.png": "make bench-scale",
    "site.png": "make pictures SITES=a folder of real recordings with a manifest.csv",
}


def _content(path: Path) -> str:
    """Return a file's text; of Python the code alone, so that a comment or docstring makes no picture old."""
    if path.suffix != ".py":
        return path.read_text()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def digest(root: Path, picture: str) -> str:
    """Return the hash of the sources that a picture shows.

    Raises
    ------
    FileNotFoundError
        A pattern matches no file.
    """
    sha256 = hashlib.sha256()
    for pattern in SHOWS[picture]:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            raise FileNotFoundError(f"{root / pattern}: no such file, but {picture} shows it")
        for path in paths:
            sha256.update(f"{path.relative_to(root).as_posix()}\n{_content(path)}\n".encode())
    return sha256.hexdigest()[:16]


def old(root: Path) -> dict[str, str]:
    """Return the pictures whose sources have changed since, each with the command that takes it anew."""
    noted = tables.read_json(root / FOLDER / "made.json")
    changed = [name for name, shown in SHOWS.items() if shown and noted.get(name) != digest(root, name)]
    return {name: COMMAND.get(name, "make pictures") for name in changed}


def main(pictures: list[str]) -> None:
    """Note that pictures were taken now."""
    root = Path(__file__).parents[2]
    file = root / FOLDER / "made.json"
    noted = tables.read_json(file) | {name: digest(root, name) for name in pictures}
    tables.write_json(file, dict(sorted(noted.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
