"""gunshot cross-validate and leave-one-out: what is tested was never trained on, and all is tested."""

from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from gunshot import cli, tags
from gunshot.alarms import score as alarms
from gunshot.alarms.score import GRID
from gunshot.base import processes, tables
from gunshot.models.model import Model
from gunshot.studies import cross_validation, leave_one_out
from gunshot.studies import recordings as evaluation
from tests.alarms.test_score import REPORT, jump
from tests.cli.test_commands import REPO
from tests.streams import imported

SOURCES = {"train": "one", "val": "two", "test": "three"}  # upstream, by the side that a group has


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that has imported recordings, and the groups that each network was trained on and that were tested."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((REPO / name).read_bytes())
    data = tmp_path / "data"
    _, recordings, onsets, sides = imported.build(data / "raw")
    recordings["upstream"] = recordings["recording_group"].map(sides).map(SOURCES)
    tables.write(data / "tagged/recordings.csv", recordings)
    tags.write(data / "tagged/tags.csv", {name: [tags.Tag(at) for at in starts] for name, starts in onsets.items()})
    for side in tables.SIDES:
        mine = recordings[recordings["recording_group"].map(sides) == side]
        rows = [
            {**{name: dtype() for name, dtype in tables.CHUNK.items()}, "chunk": f"{row['path']}#0"}
            | {key: row[key] for key in ("class", "recording_group", "source")}
            for row in mine.to_dict("records")
        ]
        rows += [rows[0] | {"chunk": f"s{i}", "source": "simulated", "recording_group": "s"} for i in range(2)]
        tables.write(data / f"features/{side}.csv", tables.frame(rows, tables.CHUNK))
        np.save(data / f"features/{side}.npy", np.zeros((len(rows), 32, 71), np.float32))
    for name, columns in tables.STREAM_TABLES.items():
        tables.write(data / "streams/val" / name, tables.frame([], columns))
    monkeypatch.chdir(tmp_path)
    for module in (alarms, evaluation, leave_one_out):
        monkeypatch.setattr(module, "load_once", lambda path: Model(path, REPORT, jump, window=(32, 33)))
    monkeypatch.setattr(processes, "in_order", lambda f, items, *shared, **_: (f(i, *shared) for i in items))
    seen = SimpleNamespace(folder=tmp_path, recordings=recordings, trained=[], pools=[], validated=[], tested=[])

    def train(corpus, held, pool, seed, p, path):
        seen.trained.append(set(corpus.table.loc[~held, "recording_group"]))
        seen.pools.append(sum(map(len, pool.values())))

    monkeypatch.setattr(processes, "apart", lambda function, *args: function(*args))
    monkeypatch.setattr(cross_validation, "_train", train)
    return seen


def groups(folder) -> set[str]:
    read = (tables.read(folder / name, tables.STREAM_TABLES[name]) for name in ("events.csv", "shots.csv"))
    return set().union(*(table["recording_group"] for table in read))


def run(*args: str) -> None:
    done = CliRunner().invoke(cli.app, args)
    assert done.exit_code == 0, done.exception


@pytest.mark.slow
def test_each_group_is_tested_once_by_a_network_that_never_heard_it(project, monkeypatch):
    validate, score_folder = cross_validation.validate, cross_validation.score_folder

    def validated(model, folders, p):
        project.validated.append(groups(next(path for path, origin in folders.items() if origin == "real")))
        return validate(model, folders, p)

    def measured(model, folder, logit, p):
        project.tested.append(groups(folder))
        return score_folder(model, folder, logit, p)

    monkeypatch.setattr(cross_validation, "validate", validated)
    monkeypatch.setattr(cross_validation, "score_folder", measured)
    run("cross-validate", "--folds", "3")
    real = project.recordings[project.recordings["source"] == "mine"]
    every, env = set(real["recording_group"]), real[real["class"] == "env"]
    assert len(project.trained) == 3 and set.union(*project.tested) == every
    assert sum(map(len, project.tested)) == len(every)
    for trained, validated, tested, pool in zip(
        project.trained, project.validated, project.tested, project.pools, strict=True
    ):
        assert trained and trained | validated | tested == every
        assert not trained & validated and not trained & tested and not validated & tested
        assert pool == env["recording_group"].isin(trained).sum()
    report = tables.read_json(project.folder / "reports/cross_validation.json")
    assert report["hours"] * 3600 == pytest.approx(env["duration_s"].sum(), abs=2)
    assert (report["folds"], len(report["operating"]), report["groups"]) == (3, 3, len(env))
    assert report["shots_of_any_level"] == 15 and {row["logit"] for row in report["det"]} == set(GRID)


@pytest.mark.slow
def test_each_recording_is_heard_by_networks_that_never_heard_its_data_set_or_group(project, monkeypatch):
    path = project.folder / "data/tagged/recordings.csv"
    table = tables.read(path, tables.RECORDING)
    both = table.index[(table["class"] == "env") & table["upstream"].isin(["one", "two"])][[0, -1]]
    table.loc[both, "recording_group"] = "both"  # two data sets took the same recording
    tables.write(path, table)
    for features in (project.folder / "data/features").glob("*.csv"):
        group = table.set_index("path")["recording_group"]
        chunks = tables.read(features, tables.CHUNK)
        own = chunks["chunk"].str.removesuffix("#0").map(group)
        tables.write(features, chunks.assign(recording_group=own.fillna(chunks["recording_group"])))
    hear_all = leave_one_out.hear_all

    def heard(recordings, *rest):
        project.tested.append(recordings)
        return hear_all(recordings, *rest)

    for name, value in {"hear_all": heard, "ALONE": 2, "COUNTED": 2}.items():
        monkeypatch.setattr(leave_one_out, name, value)
    monkeypatch.setattr(leave_one_out, "validate", lambda model, folders, p: {"logit": 2.0})
    run("leave-one-out", "--seeds", "2")
    content = tables.read_json(project.folder / "reports/leave_one_out.json")
    real = table[table["source"] == "mine"]
    assert len(project.trained) == len(project.tested) == 2 * 3
    for trained, tested, pool in zip(project.trained, project.tested, project.pools, strict=True):
        (name,) = set(tested["upstream"])
        assert pool == real.loc[real["class"] == "env", "recording_group"].isin(trained).sum()
        assert trained and not trained & set(real.loc[real["upstream"] == name, "recording_group"])
        assert ("both" in trained) == (name == "three")
    for seed in range(2):
        paths = [path for part in project.tested[3 * seed : 3 * seed + 3] for path in part["path"]]
        assert sorted(paths) == sorted(real["path"])
    assert content["seeds"] == 2 and content["gun_files"] + content["env_files"] == len(real)
    assert content["hours"] * 3600 == pytest.approx(real.loc[real["class"] == "env", "duration_s"].sum())
    assert [row["source"] for row in content["sources"]] == ["one", "three", "two"]
    assert all(row["left_out"] == row["source"] and row["counts"] for row in content["sources"])


@pytest.mark.slow
@pytest.mark.parametrize(("source", "missing"), [("simulated", "real"), ("mine", "simulated")])
def test_without_real_or_simulated_chunks_nothing_is_held_out(project, source, missing):
    for path in (project.folder / "data/features").glob("*.csv"):
        tables.write(path, tables.read(path, tables.CHUNK).assign(source=source))
    done = CliRunner().invoke(cli.app, ["cross-validate"])
    assert isinstance(done.exception, ValueError) and f"must hold {missing} chunks" in str(done.exception)
