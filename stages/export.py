"""The models to C: the int8 artifact, its network without interpreter, the forest, and what firmware shares."""

import sys
from pathlib import Path

import numpy as np

from gunshot import compiled, export, features_c, params, quantize, tables

MOST = 1000  # test chunks that parity is measured on


def stated(model: Path) -> list[dict]:
    return [tables.read_json(model.with_name(name)) for name in ("report.json", "operating.json")]


def parity(model: bytes, folder: Path, firmware: Path) -> dict[str, int]:
    """Return how many output bytes of the C differ from TFLM's, on test chunks and on as many of random codes."""
    tflm, (x, _, _) = quantize.Tflm(model), tables.features(folder, "test")
    codes = tflm.codes(x[:MOST])
    drawn = np.random.default_rng(0).integers(-128, 128, codes.shape, np.int8)
    found = compiled.compare(model, np.concatenate([codes, drawn]), firmware=firmware)
    return {"windows": 2 * len(codes), "mismatched_bytes": found}


def main(model: Path, forest: Path, folder: Path, source: Path, out: Path, compared: Path) -> None:
    p = params.load("audio", "features", "firmware")
    artifact, trees = model.read_bytes(), forest.read_text()
    report, operating = stated(model)
    constants, network = export.constants(artifact, report, operating, p), compiled.sources(artifact)
    written = export.write(artifact, report, out, constants=constants, network=network)
    written += export.write_forest(trees, out, constants=export.forest_constants(trees, *stated(forest), p))
    written += features_c.write(out, p)
    found = parity(artifact, folder, source)
    tables.write_json(compared, found)
    if found["mismatched_bytes"]:
        raise ValueError(f"mismatched_bytes={found['mismatched_bytes']} must be 0, the C against TFLM; see {compared}")
    print(f"export: {', '.join(written)} in {out}; equal to TFLM on {found['windows']} windows")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
