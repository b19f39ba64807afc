"""The int8 artifact to C: as an array, as a network without interpreter, and the constants that firmware shares."""

import sys
from pathlib import Path

from gunshot import compiled, export, params, tables


def main(model: Path, out: Path) -> None:
    p = params.load("audio", "features")
    report = tables.read_json(model.with_name("report.json"))
    operating = tables.read_json(model.with_name("operating.json"))
    artifact = model.read_bytes()
    constants, network = export.constants(artifact, report, operating, p), compiled.sources(artifact)
    written = export.write(artifact, report, out, constants=constants, network=network)
    print(f"export: {', '.join(written)} in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
