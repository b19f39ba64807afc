"""Own recordings alone, the simulator at 0: from a folder to models, as DOC/own.md says, whatever files are called."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from gunshot.base import tables

ALONE = {"simulate": {"gun_recordings": 0, "env_recordings": 0}, "network": {"hard_share": 0.0}}


def record(folder, seed: int = 3) -> None:
    """Shots of ten sessions, every second cut at the shot itself, one that nobody hears, and ten places."""
    rng = np.random.default_rng(seed)
    for kind in ("gun", "env"):
        (folder / kind).mkdir(parents=True)
        for i in range(10):
            y = 0.01 * rng.standard_normal(2 * 44100)
            at = 20 if i % 2 else 30000
            if kind == "gun":
                y[at:] += 0.8 * rng.uniform(-1, 1, len(y) - at) * np.exp(-np.arange(len(y) - at) / 2000)
            sf.write(folder / kind / f"{'abcdefghij'[i]}~1.wav", y, 44100)
    sf.write(folder / "gun/k~1.wav", 0.01 * rng.standard_normal(2 * 44100), 44100)


@pytest.mark.long
@pytest.mark.parametrize("last", ["validate_features", pytest.param("", marks=pytest.mark.exhaustive, id="all")])
@pytest.mark.timeout(1800)
def test_own_recordings_alone_become_features_and_models(fresh, tmp_path, last):
    project = fresh(tmp_path / "project")
    record(tmp_path / "own")
    project.run("gunshot", "import", "folder", str(tmp_path / "own"), "--name", "mine")
    project.params(ALONE)
    project.repro(*[last] * bool(last))
    sides = {side: tables.read(project.root / f"data/features/{side}.csv", tables.CHUNK) for side in tables.SIDES}
    assert all(set(table["class"]) == {"gun", "env"} and set(table["source"]) == {"own"} for table in sides.values())
    assert not pd.concat([sides["val"], sides["test"]])["chunk"].str.contains(tables.COPY).any()
    assert sides["train"]["chunk"].str.contains(tables.COPY).any()
    heard = set(pd.concat(sides.values()).query("`class` == 'gun'")["recording"])
    assert heard == {f"mine/gun/{name}~1.wav" for name in "abcdefghij"}
    if last:
        return
    assert (project.root / "reports/index.html").is_file()
    assert tables.read_json(project.root / "reports/streams.json")["real"]["int8"]["hours"] > 0
