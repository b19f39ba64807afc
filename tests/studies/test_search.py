"""A search's rows: the same however often it is killed, none lost, and a space that cannot be is named."""

import os
import re
import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import params
from gunshot.studies import search, space
from gunshot.studies.search import BELOW, FEW, JUDGED, LARGE

ROOT = Path(__file__).parents[2]
P = params.load("detector", "network", "quantize", "promotion", path=ROOT / "params.yaml")
ASKED = space.Search(
    rows=14, seeds=2, together=3, seed=1,
    space={
        "network.width": space.Interval(low=0.5, high=1.5),
        "network.learning_rate": space.Interval(low=0.0005, high=0.01, log=True),
        "network.depth": space.Interval(low=2, high=4),
        "network.separable": [False, True],
    },
)  # fmt: skip


def judge(networks, killed_at=None):
    """Figures that follow from values and seed alone; the process is killed before the network `killed_at`."""
    for network in networks:
        if killed_at is not None and next(killed_at) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        width, depth = network.values["network.width"], network.values["network.depth"]
        share = max(0.0, 0.9 - abs(width - 1) - 0.05 * (4 - depth) + 0.001 * network.seed)
        at = {"recall": share, "false_incidents_per_hour": 0.25}
        yield {"false_incidents_per_hour_limit": 0.5, "validation": {"simulated": at}, "bytes": int(27_000 * width)}


def searched(folder: Path, asked=ASKED, **kwargs) -> pd.DataFrame:
    return search.search(asked, folder, lambda networks: judge(networks, **kwargs), P, {"data/features": "1"})


def killed(folder: Path, at: int) -> None:
    """Search in a process that is killed before its network number `at`."""
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    try:
        searched(folder, killed_at=iter(range(at, -1, -1)))
    finally:
        os._exit(0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    return searched(tmp_path_factory.mktemp("whole"))


def test_the_first_row_is_params_yaml_and_each_ends_for_a_reason(whole):
    rows = whole.set_index("row")
    assert sorted(rows.index) == list(range(ASKED.rows)) and set(rows["state"]) == {JUDGED, BELOW, LARGE}
    assert all(rows.loc[0, key] == getattr(P.network, key.partition(".")[2]) for key in ASKED.space)
    assert ((rows["state"] == LARGE) == (rows["bytes"] > P.promotion.max_bytes)).all()
    assert (rows["seeds"] == rows["state"].map({JUDGED: 2, BELOW: 1, LARGE: 1})).all()
    for number, row in rows.sort_index().iterrows():
        start = number // ASKED.together * ASKED.together
        earlier = rows[(rows.index < start) & (rows["state"] == JUDGED)]
        first = row["recall"] if row["state"] == BELOW else row["recall_lowest"]  # a later seed finds more here
        below = len(earlier) >= FEW and first < earlier["recall_lowest"].median()
        assert row["state"] == LARGE or (row["state"] == BELOW) == below
    best = rows[rows["state"] == JUDGED]
    assert best["recall"].is_monotonic_decreasing and rows["state"].iloc[len(best) :].ne(JUDGED).all()


@pytest.mark.slow
@given(
    kills=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    cut=st.integers(0, 300),
    rows=st.integers(1, ASKED.rows),
)
@settings(max_examples=6)
def test_a_search_that_is_killed_goes_on_and_gives_the_same_rows(tmp_path_factory, whole, kills, cut, rows):
    folder = tmp_path_factory.mktemp("killed")
    for at in kills:
        killed(folder, at)
    journal = folder / "journal.log"
    os.truncate(journal, max(0, journal.stat().st_size - cut))  # as a disk that lost power may leave it
    journal.with_name("journal.log.lock").symlink_to(journal)  # as who is killed in it leaves it
    few = searched(folder, ASKED.model_copy(update={"rows": rows}))
    assert len(few) >= rows and few.set_index("row").sort_index().equals(
        whole.set_index("row").sort_index().loc[: len(few) - 1]
    )
    assert searched(folder).equals(whole)
    written = (folder / "rows.csv").read_bytes()
    (folder / "rows.csv").unlink()  # as a kill between the journal and this leaves it
    assert searched(folder, killed_at=iter([0])).equals(whole)  # nothing is judged again
    assert (folder / "rows.csv").read_bytes() == written == whole.to_csv(index=False).encode()


def test_rows_of_the_same_values_are_judged_once(tmp_path):
    one, other = (search.Network(tmp_path / name, 6, {"network.width": 1.0}) for name in ("a", "b"))
    asked = []
    points = search._each(lambda networks: [{"out": asked.append(n.out) or n.out} for n in networks], [one, other, one])
    assert [point["out"] for point in points] == [one.out, other.out, one.out] and asked == [one.out, other.out]


def test_one_searches_in_a_folder_at_a_time_and_with_what_it_began_with(tmp_path):
    asked = ASKED.model_copy(update={"rows": 1, "seeds": 1})
    with search._alone(tmp_path), pytest.raises(ValueError, match="another `gunshot search` is at work there"):
        searched(tmp_path, asked)
    searched(tmp_path, asked)
    with pytest.raises(ValueError, match="this search began otherwise: seed was 1 and is 2"):
        searched(tmp_path, asked.model_copy(update={"seed": 2}))


def point(*origins: tuple[float, float]) -> dict:
    at = {f"{i}": {"recall": recall, "false_incidents_per_hour": rate} for i, (recall, rate) in enumerate(origins)}
    return {"false_incidents_per_hour_limit": 0.5, "validation": at}


def test_a_row_is_worth_the_recall_where_the_limit_is_kept():
    nan = float("nan")
    assert search.recall(point((0.5, 0.0), (0.7, 0.5))) == pytest.approx(0.6)
    assert search.recall(point((0.5, 0.0), (nan, 0.5))) == 0.5
    assert search.recall(point((0.5, 0.0), (0.9, 0.6))) == 0.0
    with pytest.raises(ValueError, match="must hold a clear shot"):
        search.recall(point((nan, 0.0)))


def written(folder: Path, name: str = "try.yaml", **changes) -> Path:
    content = {"rows": 2, "seeds": 1, "together": 1, "seed": 1, "space": {"network.width": [0.5, 1.0]}} | changes
    path = folder / name
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


BAD = {
    "network.depth=9: Input should be less than or equal to 4": {"space": {"network.depth": [3, 9]}},
    "network.dropout=2: Input should be less than or equal to 1": {"space": {"network.dropout": {"low": 0, "high": 2}}},
    "network.depth=2.5: Input should be a valid integer": {"space": {"network.depth": {"low": 2.5, "high": 4}}},
    "network.wdith is not a known key; network has: seed, width": {"space": {"network.wdith": [1]}},
    "network.seed cannot be searched": {"space": {"network.seed": [1, 2]}},
    "features.n_mels cannot be searched; what can are keys of network": {"space": {"features.n_mels": [32]}},
    "network.width must be a list of values, or low and high": {"space": {"network.width": {"low": 1, "high": 1}}},
    "network.depth must be a list of values": {"space": {"network.depth": []}},
    "network.dropout: low=0 must be above 0 with log": {
        "space": {"network.dropout": {"low": 0, "high": 0.5, "log": True}}
    },
    "network.width.high: Field required": {"space": {"network.width": {"low": 1}}},
    "network.width.hihg=2: Extra inputs are not permitted": {"space": {"network.width": {"low": 1, "hihg": 2}}},
    "network.width=1: Input should be a valid list": {"space": {"network.width": 1}},
    "network.mix_snr_db.0: Value error, a list of lists cannot be searched": {"space": {"network.mix_snr_db": [[0]]}},
    "rows: Field required": {"rows": None},
    "rows=3 must be at most 2: the space has no more sets of values": {"rows": 3},
    "seeds=0: Input should be greater than or equal to 1": {"seeds": 0},
    "its name must have letters, digits, - and _ alone": {"name": "a search.yaml"},
}  # fmt: skip


@pytest.mark.parametrize("rule", BAD)
def test_a_space_that_cannot_be_is_named(rule, tmp_path):
    path = written(tmp_path, **BAD[rule])
    with pytest.raises(ValueError, match=re.escape(f"{path}: {rule}")):
        space.load(path, P)


def test_the_example_of_the_how_to_is_a_search(tmp_path):
    (shown,) = re.findall(r"^```yaml\n(.*?)```", (ROOT / "DOC/search.md").read_text(), re.S | re.M)
    (path := tmp_path / "widths.yaml").write_text(shown)
    assert space.present(P, space.load(path, P).space)


def test_all_that_cannot_be_is_named_at_once(tmp_path):
    path = written(tmp_path, space={"network.depth": [1, 9], "quantize.representative": [0]})
    with pytest.raises(ValueError) as raised:
        space.load(path, P)
    assert str(raised.value).count(f"{path}: ") == len(str(raised.value).splitlines()) == 3


def test_what_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "try.yaml"
    for content in (b"[", b"\xff", b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"try\.yaml"):
            space.load(path, P)
