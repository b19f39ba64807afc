"""Features to the fully convolutional network."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from gunshot.base import params, tables
from gunshot.models.network import negatives, network, training
from gunshot.models.scores import metrics


def main(folder: Path, streams: Path, out: Path) -> None:
    p = params.load("audio", "features", "network", "evaluate")
    x, y, table = tables.features(folder, "train", ("label", "source", "recording_group"))
    x_val, y_val, _ = tables.features(folder, "val", ())
    chance = training.chances(table, p.network.real_share)
    label, rng = training.labels(table), np.random.default_rng(p.network.seed)
    with tempfile.TemporaryDirectory() as name:
        pool = negatives.of_streams(streams, Path(name, "pool"), p) if p.network.hard_share else {}
        model, history = training.train(x, y, x_val, y_val, rng, p.network, label=label, chance=chance, pool=pool)
    report = {
        **metrics.stated(y_val, network.logit(model, x_val)[:, 0], min_recall=p.evaluate.min_recall),
        "parameters": model.count_params(),
        "epochs": len(history["loss"]),
    }
    network.save(model, out)
    tables.write(out.with_name("history.csv"), pd.DataFrame({"epoch": range(1, report["epochs"] + 1), **history}))
    tables.write_json(out.with_name("report.json"), report)
    print(f"train_network: {report['parameters']} parameters, AUC {report['validation_auc']:.4f} on validation")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
