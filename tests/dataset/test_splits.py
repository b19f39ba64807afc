"""The split: groups whole, sides sticky, shares and balance near what was asked, errors that name the class."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot.base import tables
from gunshot.dataset import splits

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
NONE = tables.frame([], tables.SPLIT)


def corpus(sizes: list[int], kinds: list[str], sources: list[str], prefix: str = "g") -> pd.DataFrame:
    columns = {"class": kinds, "source": sources, "chunks": sizes}
    return pd.DataFrame({"recording_group": [f"{prefix}{i:04d}" for i in range(len(sizes))], **columns})


@st.composite
def corpora(draw, least: int = 3, prefix: str = "g"):
    """A corpus of random groups, with at least `least` of each class."""
    n = draw(st.integers(2 * least, 40))
    kinds = ["gun", "env"] * least + draw(st.lists(st.sampled_from(["gun", "env"]), min_size=n - 2 * least, max_size=n))
    sizes = draw(st.lists(st.integers(1, 60), min_size=len(kinds), max_size=len(kinds)))
    sources = draw(st.lists(st.sampled_from("abc"), min_size=len(kinds), max_size=len(kinds)))
    return corpus(sizes, kinds, sources, prefix)


def side_of(assigned: pd.DataFrame) -> dict[str, str]:
    return dict(zip(assigned["recording_group"], assigned["side"], strict=True))


def shares_of(table: pd.DataFrame, assigned: pd.DataFrame) -> pd.Series:
    chunks = table.merge(assigned[["recording_group", "side"]]).groupby("side")["chunks"].sum()
    return (chunks / chunks.sum()).reindex(tables.SIDES, fill_value=0)


def test_groups_are_whole_whatever_chunks_they_hold():
    chunks = pd.DataFrame(
        [("b", "env", "y"), ("a", "env", "x"), ("a", "gun", "x"), ("b", "env", "y"), ("b", "env", "w")],
        columns=["recording_group", "class", "source"],
    )
    assert splits.groups(chunks).to_dict("records") == [
        {"recording_group": "a", "class": "gun", "source": "x", "chunks": 2},
        {"recording_group": "b", "class": "env", "source": "w", "chunks": 3},
    ]


@pytest.mark.slow
@given(corpora(), st.integers(0, 2**31))
def test_each_group_has_one_side_and_each_class_every_side(table, seed):
    assigned = splits.assign(table, NONE, shares=SHARES, seed=seed)
    assert list(assigned) == list(tables.SPLIT)
    assert assigned["recording_group"].tolist() == sorted(table["recording_group"])
    assert not assigned["recording_group"].duplicated().any()
    assert set(map(tuple, assigned[["class", "side"]].to_numpy())) == {
        (c, s) for c in ("gun", "env") for s in tables.SIDES
    }
    given_ = table.set_index("recording_group")
    kept = assigned.set_index("recording_group")
    assert kept["class"].to_dict() == given_["class"].to_dict()
    assert kept["source"].to_dict() == given_["source"].to_dict()


@pytest.mark.slow
@given(corpora(), corpora(prefix="new"), st.integers(0, 99), st.integers(0, 99), st.data())
def test_sides_never_change_when_recordings_come_and_go(table, more, seed, other_seed, data):
    first = splits.assign(table, NONE, shares=SHARES, seed=seed)
    gone = data.draw(st.sets(st.sampled_from(table["recording_group"].tolist())))
    grown = table.assign(chunks=table["chunks"] * 3)[~table["recording_group"].isin(gone)]
    second = splits.assign(pd.concat([more, grown]), first, shares=SHARES, seed=other_seed)
    assert side_of(first).items() <= side_of(second).items()
    assert set(second["recording_group"]) == set(table["recording_group"]) | set(more["recording_group"])
    third = splits.assign(table, second, shares={"train": 0.5, "val": 0.25, "test": 0.25}, seed=seed)
    assert side_of(second) == side_of(third)


@pytest.mark.slow
@given(corpora(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_table_does_not_matter(table, seed, random):
    order = list(range(len(table)))
    random.shuffle(order)
    a, b = (splits.assign(t, NONE, shares=SHARES, seed=seed) for t in (table, table.iloc[order]))
    pd.testing.assert_frame_equal(a, b)


def test_another_seed_draws_other_sides():
    table = corpus([5] * 60, ["gun", "env"] * 30, ["a"] * 60)
    assert len({tuple(splits.assign(table, NONE, shares=SHARES, seed=s)["side"]) for s in range(5)}) == 5


@pytest.mark.slow
@given(st.lists(st.integers(1, 30), min_size=60, max_size=200), st.integers(0, 99))
def test_shares_are_80_10_10_of_each_class_and_source(sizes, seed):
    rng = np.random.default_rng(seed)
    kinds, sources = rng.choice(["gun", "env"], len(sizes)), rng.choice(["a", "b"], len(sizes))
    table = corpus(sizes, kinds, sources)
    assigned = splits.assign(table, NONE, shares=SHARES, seed=seed)
    within = [(0.03, [table]), (0.03, [part for _, part in table.groupby("class")])]
    within.append((0.1, [part for _, part in table.groupby(["class", "source"])]))
    for share, parts in within:
        for part in parts:
            largest = part["chunks"].max() / part["chunks"].sum()  # a group is never cut
            assert np.abs(shares_of(part, assigned) - list(SHARES.values())).max() < share + 2.5 * largest


def test_a_corpus_added_later_is_split_itself():
    old = corpus([4] * 40, ["gun", "env"] * 20, ["old"] * 40)
    new = corpus([4] * 40, ["gun", "env"] * 20, ["new"] * 40, "new")
    first = splits.assign(old, NONE, shares=SHARES, seed=0)
    second = splits.assign(pd.concat([old, new]), first, shares=SHARES, seed=0)
    assert np.abs(shares_of(new, second) - list(SHARES.values())).max() < 0.051


@pytest.mark.slow
@given(st.sampled_from(["gun", "env"]), st.integers(1, 500), st.integers(0, 99))
def test_the_first_group_of_a_source_is_learned_from(kind, chunks, seed):
    old = corpus([4] * 100, ["gun", "env"] * 50, ["old"] * 100)
    kept = splits.assign(old, NONE, shares=SHARES, seed=seed)
    first = corpus([chunks], [kind], ["field"], prefix="device")
    assert side_of(splits.assign(pd.concat([old, first]), kept, shares=SHARES, seed=seed))["device0000"] == "train"


@pytest.mark.slow
@given(st.integers(20, 80), st.integers(0, 99))
def test_many_sources_of_a_group_each_keep_the_shares(count, seed):
    table = corpus([4] * count, ["gun", "env"] * (count // 2) + ["gun"] * (count % 2), [f"s{i}" for i in range(count)])
    assigned = splits.assign(table, NONE, shares=SHARES, seed=seed)
    for _, part in table.groupby("class"):
        largest = 1 / len(part)  # a group is never cut
        assert abs(shares_of(part, assigned)["train"] - SHARES["train"]) < 0.05 + 2 * largest


def test_devices_after_the_first_are_shared_out():
    old = corpus([4] * 100, ["gun", "env"] * 50, ["old"] * 100)
    kept = splits.assign(old, NONE, shares=SHARES, seed=0)
    sides = []
    for count in range(1, 11):  # a retraining after each device
        field = corpus([4] * count, ["env"] * count, ["field"] * count, "device")
        kept = splits.assign(pd.concat([old, field]), kept, shares=SHARES, seed=0)
        sides.append(side_of(kept)[f"device{count - 1:04d}"])
    assert sides[0] == "train" and set(sides) == set(tables.SIDES)


def test_a_side_without_a_share_gets_nothing():
    table = corpus([3] * 10, ["gun", "env"] * 5, ["a"] * 10)
    assigned = splits.assign(table, NONE, shares={"train": 0.8, "val": 0.2, "test": 0.0}, seed=0)
    assert set(assigned["side"]) == {"train", "val"}


@pytest.mark.parametrize("kind", ["gun", "env"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_groups_name_the_class(kind, count):
    other = {"gun": "env", "env": "gun"}[kind]
    kinds = [other] * 5 + [kind] * count
    with pytest.raises(ValueError, match=rf"class '{kind}' has {count} recording group\(s\), none in \[.*'test'"):
        splits.assign(corpus([3] * len(kinds), kinds, ["a"] * len(kinds)), NONE, shares=SHARES, seed=0)


def test_a_kept_split_that_leaves_a_side_empty_is_named():
    table = corpus([3] * 6, ["gun", "env"] * 3, ["a"] * 6)
    kept = table[["recording_group", "class", "source"]].assign(side="train")
    with pytest.raises(ValueError, match=r"class 'gun' has 3 recording group\(s\), none in \['val', 'test'\]"):
        splits.assign(table, kept, shares=SHARES, seed=0)


def test_a_kept_split_that_a_merge_has_damaged_is_named():
    table = corpus([3] * 6, ["gun", "env"] * 3, ["a"] * 6)
    kept = splits.assign(table, NONE, shares=SHARES, seed=0)
    twice = pd.concat([kept, kept[:1].assign(side="test")])
    with pytest.raises(ValueError, match=r"recording_group='g0000' side='test': a group must have one line"):
        splits.assign(table, twice, shares=SHARES, seed=0)
    with pytest.raises(ValueError, match=r"recording_group='g0002' side='tset'.*train, val, test"):
        splits.assign(table, kept.replace({"side": {kept["side"][2]: "tset"}})[2:], shares=SHARES, seed=0)


@settings(max_examples=10)
@given(corpora(), st.integers(0, 99))
def test_the_table_survives_its_file(tmp_path_factory, table, seed):
    path = tmp_path_factory.mktemp("s") / "splits.csv"
    assigned = splits.assign(table, NONE, shares=SHARES, seed=seed)
    tables.write(path, assigned)
    again = splits.assign(table, tables.read(path, tables.SPLIT), shares=SHARES, seed=seed)
    tables.write(path.with_name("again.csv"), again)
    assert path.read_bytes() == path.with_name("again.csv").read_bytes()


def test_a_merged_group_has_the_most_held_out_side_of_its_members():
    kept = pd.DataFrame({"recording_group": list("abcd"), "side": ["train", "test", "val", "train"]})
    kept = kept.assign(**{"class": "gun", "source": "s"})
    merged = splits.merge(kept, {"a": "a", "b": "a", "c": "c", "d": "d"})
    assert dict(zip(merged["recording_group"], merged["side"], strict=True)) == dict(
        a="test", b="test", c="val", d="train"
    )
    renamed = splits.merge(kept, {"a": "a", "b": "b", "c": "0", "d": "0"})
    assert renamed.set_index("recording_group")["side"].to_dict() == dict(a="train", b="test", c="val", d="val") | {
        "0": "val"
    }
    assert splits.merge(kept, {}).equals(kept)
    assert len(splits.merge(kept[:0], {"a": "b"})) == 0
