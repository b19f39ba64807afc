"""The models to C: the int8 artifact, the forest, and the constants that firmware shares with the pipeline."""

import sys
from pathlib import Path

from gunshot import export, params, tables


def stated(model: Path) -> list[dict]:
    return [tables.read_json(model.with_name(name)) for name in ("report.json", "operating.json")]


def main(model: Path, forest: Path, out: Path) -> None:
    p = params.load("audio", "features")
    artifact, source = model.read_bytes(), forest.read_text()
    report, operating = stated(model)
    written = export.write(artifact, report, out, constants=export.constants(artifact, report, operating, p))
    written += export.write_forest(source, out, constants=export.forest_constants(source, *stated(forest), p))
    print(f"export: {', '.join(written)} in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
