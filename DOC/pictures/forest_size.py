"""Draws DOC/pictures/forest_size.png and prints its table: python DOC/pictures/forest_size.py data/features."""

import copy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier

from gunshot.base import params, tables
from gunshot.export import forest as forest_c
from gunshot.features import of_chunks
from gunshot.models import forest
from gunshot.models.scores import metrics

OUT = Path(__file__).parent
P = params.load("audio", "features", "context", "forest", "evaluate", path=OUT.parents[1] / "params.yaml")
SIDES = ("train", "val")
TREES = (10, 20, 40, 80)
DRAWS = 3  # of the training rows and of the trees
BASE = {"min_samples_leaf": 2, "max_features": 0.03}
FORESTS = [{"max_depth": depth} | BASE for depth in (6, 8, 10, 12, 16)] + [
    {"max_depth": 12, "min_samples_leaf": 8, "max_features": 0.03},
    {"max_depth": 10, "min_samples_leaf": 2, "max_features": 0.01},
    {"max_depth": 8, "min_samples_leaf": 2, "max_features": 0.1},
    {"max_depth": 10, "min_samples_leaf": 2, "max_features": 0.1},
]


def measure(folder: Path) -> pd.DataFrame:
    """Return a row for each forest, number of trees and draw; the C is compiled for the first draw."""
    (x, y), (x_val, y_val) = ((of_chunks(x, P), y) for x, y, _ in (tables.features(folder, side) for side in SIDES))
    codes, rows = forest.codes(x_val), []
    for draw in range(DRAWS):
        rng = np.random.default_rng([P.forest.seed, draw])
        picked = np.sort(rng.permutation(len(y))[: P.forest.fit_rows])
        x_fit, y_fit, seed = forest.codes(x[picked]), y[picked], int(rng.integers(2**31))
        for how in FORESTS:
            whole = RandomForestClassifier(max(TREES), **how, class_weight="balanced", random_state=seed, n_jobs=2)
            whole.fit(x_fit, y_fit).set_params(n_jobs=1)
            for n in TREES:  # the first n trees are those that a forest of n trees would have
                model = copy.copy(whole)
                model.estimators_ = whole.estimators_[:n]
                votes = forest.votes(model, codes)
                scores = votes / (forest.LEAF * n)
                point = metrics.chunk_threshold(y_val, scores, min_recall=P.evaluate.min_recall)
                row = how | {"n_estimators": n, "draw": draw, "auc": metrics.auc(y_val, scores)}
                row["false_rate"] = metrics.at_threshold(y_val, scores, point)["false_rate"]
                if draw == 0:
                    row |= forest_c.check(model, forest_c.to_c(model), codes, votes=votes)
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each forest and number of trees: the mean of the draws, and what the C of the first one is."""
    by = rows.groupby(["min_samples_leaf", "max_features", "max_depth", "n_estimators"], as_index=False)
    return by.agg(
        auc=("auc", "mean"),
        low=("auc", "min"),
        high=("auc", "max"),
        false_rate=("false_rate", "mean"),
        c_bytes=("c_bytes", "first"),
        agreement=("c_agreement", "first"),
        most=("c_max_difference", "first"),
    )


def draw(table: pd.DataFrame) -> None:
    """Write the picture: AUC against compiled bytes, a line for each depth, circles around the grid of params.yaml."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    shown = table[(table["min_samples_leaf"] == 2) & (table["max_features"] >= 0.03)]
    for (share, depth), part in shown.groupby(["max_features", "max_depth"]):
        style = {"color": f"C{(6, 8, 10, 12, 16).index(depth)}", "ls": "-" if share == 0.03 else "--"}
        ax.plot(part["c_bytes"] / 1000, part["auc"], marker="o", ms=4, lw=1.2, label=f"{depth}, {share:.0%}", **style)
    grid = shown[[all(r[key] in getattr(P.forest, key) for key in forest.GRID) for _, r in shown.iterrows()]]
    ax.plot(grid["c_bytes"] / 1000, grid["auc"], "o", ms=12, mfc="none", mec="black", label="params.yaml")
    ax.set_xscale("log")
    ax.set_xticks([10, 20, 50, 100, 200, 500, 1000], ["10", "20", "50", "100", "200", "500", "1000"])
    ax.minorticks_off()
    ax.set(xlabel="kB of code and constants, gcc -Os, x86-64", ylabel=f"AUC on validation, mean of {DRAWS}")
    ax.grid(alpha=0.3)
    ax.legend(title="depth, features a node sees", fontsize=8)
    figure.savefig(OUT / "forest_size.png", dpi=100)


def main(folder: Path) -> None:
    """Measure, print the table in Markdown, draw."""
    table = means(measure(folder))
    print(
        "| trees | depth | rows a leaf | share of features | AUC, mean of 3 | lowest to highest | false rate | kB ",
        end="",
    )
    print("| same class | largest difference |\n" + "|---" * 10 + "|")
    for r in table.itertuples():
        print(f"| {r.n_estimators} | {r.max_depth} | {r.min_samples_leaf} | {r.max_features:g} ", end="")
        print(f"| {r.auc:.4f} | {r.low:.4f} to {r.high:.4f} | {100 * r.false_rate:.1f} % ", end="")
        print(f"| {r.c_bytes / 1000:.0f} | {100 * r.agreement:.2f} % | {r.most:.4f} |")
    draw(table)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
