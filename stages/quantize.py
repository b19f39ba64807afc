"""The network to an int8 TFLM artifact, and what that costs."""

import sys
from pathlib import Path

import numpy as np

from gunshot.base import params, tables
from gunshot.base.files import atomic
from gunshot.models.network import network, quantize


def main(folder: Path, model: Path, out: Path) -> None:
    p = params.load("quantize", "evaluate")
    net = network.load(model)
    x, _, table = tables.features(folder, "train", ["chunk"])
    rng = np.random.default_rng(p.quantize.seed)
    rows = np.sort(rng.permutation(len(x))[: p.quantize.representative])
    artifact = quantize.convert(quantize.fixed(net, n_frames=x.shape[2]), x[rows])
    tables.write(out.with_name("representative.csv"), table.iloc[rows][["chunk"]])
    with atomic(out) as part:
        part.write_bytes(artifact)
    val, test = (tables.features(folder, side, ())[:2] for side in ("val", "test"))
    min_recall = p.evaluate.min_recall
    report = quantize.report(artifact, lambda x: network.logit(net, x)[:, 0], val, test, min_recall=min_recall)
    tables.write_json(out.with_name("report.json"), report)
    print(
        f"quantize: {report['bytes']} bytes, arena {report['arena_bytes']} bytes; int8 - float: "
        f"accuracy {report['accuracy_delta']:+.4f}, AUC {report['auc_delta']:+.4f}, flips {report['flip_rate']:.2%}"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
