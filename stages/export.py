"""The int8 artifact to C: the model as an array, the constants that firmware shares, and the log-mel's tables."""

import sys
from pathlib import Path

from gunshot import export, features_c, params, tables


def main(model: Path, out: Path) -> None:
    p = params.load("audio", "features", "firmware")
    report = tables.read_json(model.with_name("report.json"))
    operating = tables.read_json(model.with_name("operating.json"))
    artifact = model.read_bytes()
    written = export.write(artifact, report, out, constants=export.constants(artifact, report, operating, p))
    written += features_c.write(out, p)
    print(f"export: {', '.join(written)} in {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
