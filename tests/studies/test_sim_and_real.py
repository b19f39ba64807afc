"""Simulated chunks beside real ones: who is held out, how long each network trains, what is measured."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gunshot.base import processes
from gunshot.studies import sim_and_real


class Network(SimpleNamespace):
    """The section network, as far as it is read here."""

    def model_copy(self, update):
        return Network(**{**vars(self), **update})


@pytest.fixture
def case(monkeypatch):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    y = groups % 2
    x = groups[:, None, None].astype(np.float32) * np.ones((1, 2, 3), np.float32)
    seen = []

    def train(x, y, x_val, y_val, seed, p, *, label, chance):
        real = (x[:, 0, 0] < 99) & (y == 1)
        seen.append({"x": np.unique(x), "val": np.unique(x_val), "steps": (p.epochs, p.chunks),
                     "real": chance[real].sum() / chance[y == 1].sum()})  # fmt: skip
        return "model", {}

    from gunshot.models.network import network, training

    monkeypatch.setattr(processes, "in_order", lambda f, items, *shared, **_: (f(i, *shared) for i in items))
    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(network, "logit", lambda model, part: part[:, 0, :1] % 2 + rng.normal(0, 0.1, (len(part), 1)))
    table = pd.DataFrame({"y": y, "class": np.where(y, "gun", "env"), "source": "yard", "label": "pistol",
                          "recording_group": [f"g{g}" for g in groups], "upstream": groups // 4})  # fmt: skip
    p = Network(seed=3, epochs=30, chunks=500, real_share=0.4)

    def train_arms(**options):
        simulated = pd.DataFrame(
            {"y": 1, "class": "gun", "source": "simulated", "label": "rifle", "recording_group": range(160)}
        )
        chunks = sim_and_real.Chunks(x, table, np.full((160, 2, 3), 99, np.float32), simulated)
        return sim_and_real.train_arms(lambda: chunks, p, seeds=2, folds=2, **options), seen

    return train_arms


def test_no_held_out_group_is_trained_on_and_both_arms_take_as_many_steps(case):
    rows, seen = case()
    assert len(rows) == len(seen) == 2 * 2 * 2 and rows["arm"].tolist() == ["real", "both"] * 4
    for real, both in zip(seen[::2], seen[1::2], strict=True):
        assert set(both["x"]) == {*real["x"], 99.0} and not set(real["x"]) & set(real["val"])
        assert len(real["x"]) + len(real["val"]) == 20 and set(real["val"]) == set(both["val"])
        assert real["steps"] == both["steps"] == (30, 500)
        assert real["real"] == pytest.approx(1) and both["real"] == pytest.approx(0.4)
    first, second = ({*seen[i]["x"], *seen[i]["val"]} for i in (0, 2))
    assert not first & second and len(first | second) == 40  # each fold trains on what the other holds out


def test_a_source_that_is_held_out_is_held_out_as_a_whole(case):
    rows, seen = case(held_out="upstream")
    assert set(rows["held_out"]) == {"upstream"}
    for one, other in ((0, 2), (4, 6)):
        first, second = ({*seen[i]["x"] // 4, *seen[i]["val"] // 4} for i in (one, other))
        assert not first & second and len(first | second) == 10


def test_the_summary_is_the_mean_and_the_spread_over_seeds(case):
    rows, _ = case()
    assert (rows["auc"] == 1).all() and set(rows["seed"]) == {3, 4}
    changed = rows.assign(auc=np.where(rows["seed"] == 3, 0.8, 0.9))
    means = sim_and_real.summary(changed)
    assert means["real"]["auc"] == pytest.approx(0.85) and means["both"]["auc_sd"] == pytest.approx(0.1 / np.sqrt(2))


def test_too_few_groups_are_named():
    table = pd.DataFrame({"y": [0, 0, 1], "recording_group": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="at least folds=2 of recording_group, y=1 has 1"):
        chunks = sim_and_real.Chunks(np.zeros((3, 2, 3)), table, np.zeros((1, 2, 3)), None)
        sim_and_real.train_arms(lambda: chunks, None, seeds=1, folds=2)
