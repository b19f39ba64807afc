"""The models to C: the int8 artifact, its network without interpreter, the forest, and what firmware shares."""

import sys
from pathlib import Path

from gunshot import compiled, export, features_c, params, tables


def stated(model: Path) -> list[dict]:
    return [tables.read_json(model.with_name(name)) for name in ("report.json", "operating.json")]


def main(model: Path, forest: Path, out: Path) -> None:
    p = params.load("audio", "features", "firmware")
    artifact, source = model.read_bytes(), forest.read_text()
    report, operating = stated(model)
    constants, network = export.constants(artifact, report, operating, p), compiled.sources(artifact)
    written = export.write(artifact, report, out, constants=constants, network=network)
    written += export.write_forest(source, out, constants=export.forest_constants(source, *stated(forest), p))
    written += features_c.write(out, p)
    print(f"export: {', '.join(written)} in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
