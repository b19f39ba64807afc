"""The models to C: the int8 artifact, its network without interpreter, the forest, and what firmware shares."""

import sys
from pathlib import Path

import numpy as np

from gunshot.base import params, tables
from gunshot.export import constants as export
from gunshot.export import log_mel as log_mel_c
from gunshot.export import network as network_c

WINDOWS = 10_000  # that the C is compared with TFLM on, half of them test chunks where there are as many


def stated(model: Path) -> list[dict]:
    return [tables.read_json(model.with_name(name)) for name in ("report.json", "operating.json")]


def main(model: Path, forest: Path, folder: Path, source: Path, out: Path, compared: Path) -> None:
    p = params.load("audio", "features", "firmware")
    artifact, trees = model.read_bytes(), forest.read_text()
    report, operating = stated(model)
    hop = operating["settings"]["hop"]
    constants, network = export.constants(artifact, report, operating, p), network_c.sources(artifact, hop=hop)
    written = export.write(artifact, report, out, constants=constants, network=network)
    written += export.write_forest(trees, out, constants=export.forest_constants(trees, *stated(forest), p))
    written += log_mel_c.write(out, p)
    x, _, _ = tables.features(folder, "test")
    codes = network_c.windows(artifact, x, np.random.default_rng(0), count=WINDOWS)
    counts = network_c.check(artifact, codes, hop=hop, firmware=source)
    tables.write_json(compared, counts)
    if counts["mismatched_bytes"]:
        raise ValueError(f"mismatched_bytes={counts['mismatched_bytes']} must be 0, the C against TFLM; see {compared}")
    print(f"export: {', '.join(written)} in {out}; equal to TFLM on {counts['windows']} windows")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
