"""The int8 artifact to C: an array, a network without interpreter, and what firmware shares: constants, tables."""

import sys
from pathlib import Path

from gunshot import compiled, export, features_c, params, tables


def main(model: Path, out: Path) -> None:
    p = params.load("audio", "features", "firmware")
    report = tables.read_json(model.with_name("report.json"))
    operating = tables.read_json(model.with_name("operating.json"))
    artifact = model.read_bytes()
    constants, network = export.constants(artifact, report, operating, p), compiled.sources(artifact)
    written = export.write(artifact, report, out, constants=constants, network=network)
    written += features_c.write(out, p)
    print(f"export: {', '.join(written)} in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
