"""Features to a Random Forest, tuned by grid search, and to its C."""

import sys
from pathlib import Path

import numpy as np

from gunshot import features
from gunshot.base import params, tables
from gunshot.base.files import atomic
from gunshot.export import forest as forest_c
from gunshot.models import forest
from gunshot.models.scores import calibration, metrics


def main(folder: Path, out: Path) -> None:
    p = params.load("audio", "features", "context", "forest", "evaluate")
    (x, y, table), (x_val, y_val, _) = (tables.features(folder, side, ["recording_group"]) for side in ("train", "val"))
    x, x_val, groups = features.of_chunks(x, p), features.of_chunks(x_val, p), table["recording_group"].to_numpy()
    model, grid = forest.search(x, y, groups, np.random.default_rng(p.forest.seed), p.forest)
    best = grid[grid["best"]].to_dict("records")[0]
    source, codes = forest_c.to_c(model), forest.codes(x_val)
    report = {
        **metrics.stated(y_val, calibration.logit(forest.score(model, x_val)), min_recall=p.evaluate.min_recall),
        "search_auc": best["auc_mean"],
        "best": {name: getattr(model, name) for name in forest.GRID},
        **forest_c.check(model, source, codes, votes=forest.votes(model, codes)),
    }
    forest.save(model, out)
    with atomic(out.with_name("forest.h")) as part:
        part.write_text(source)
    tables.write(out.with_name("grid.csv"), grid)
    with atomic(out.with_name("importances.npy")) as part, open(part, "wb") as file:
        np.save(file, model.feature_importances_.reshape(x.shape[:0:-1]).T)
    tables.write_json(out.with_name("report.json"), report)
    print(f"train_forest: {report['best']}, AUC {report['validation_auc']:.4f}, {report['c_bytes'] / 1000:.0f} kB as C")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
