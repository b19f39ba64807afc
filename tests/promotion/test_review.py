"""A review: what an approval must say, what nobody can overrule, and that a decision is made once."""

import hashlib
import json
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.promotion import review

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SMALL = ["weapon=M16", "weapon=Uzi", "negative=door"]


def folder(tmp_path, failed=("seeds",), small=SMALL):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / review.PAGE).write_text("<html>")
    names = ("new", "parity-model", "recall", "seeds")
    gates = [{"name": name, "passed": name not in failed, "figure": 1} for name in names]
    content = {
        "candidate": "c" * 40, "champion": "v1.0.0", "dossier": hashlib.sha256(b"<html>").hexdigest(), "gates": gates,
        "small": list(small),
    }  # fmt: skip
    (tmp_path / review.GATES).write_text(json.dumps(content))
    return tmp_path


def approve(path, **values):
    said = {"by": "Ada", "reason": "finds more", "overruled": {"seeds": "two were alike"}, "acknowledged": SMALL}
    return review.decide(path, "approve", now=NOW, **said | values)


def test_an_approval_is_what_the_registry_takes(tmp_path):
    path = folder(tmp_path)
    written = approve(path, acknowledged=["weapon", "negative=door"])
    assert written == json.loads((path / review.FILE).read_text())
    assert (written["decision"], written["by"], written["at"]) == ("approve", "Ada", "2026-01-02T03:04:05Z")
    assert written["acknowledged"] == SMALL and written["candidate"] == "c" * 40
    decision = review.decided(path)
    assert decision["decision"] == "approve"
    call = decision["call"]
    assert call["overrule"] == {"seeds": "two were alike"} and call["review"]["champion"] == "v1.0.0"
    assert call["acknowledge"] == SMALL
    assert set(call) == {"candidate", "dossier", "review", "by", "reason", "overrule", "acknowledge"}


def test_a_rejection_needs_its_reason_alone(tmp_path):
    path = folder(tmp_path, failed=("new", "seeds"))
    with pytest.raises(ValueError, match="reason"):
        review.decide(path, "reject", by="Ada", reason="  ")
    with pytest.raises(ValueError, match="belong to an approval"):
        review.decide(path, "reject", by="Ada", reason="worse", overruled={"seeds": "x"})
    assert review.decided(path) is None
    review.decide(path, "reject", by="Ada", reason="worse\nin the mall")
    decision = review.decided(path)
    assert decision["decision"] == "reject" and not {"overrule", "acknowledge"} & set(decision["call"])
    assert decision["call"]["reason"] == "worse in the mall"


@pytest.mark.parametrize(
    "values, words",
    [
        ({"by": ""}, "by=''"), ({"reason": "\n"}, "reason=''"), ({"overruled": {}}, r"gates=\['seeds'\] failed"),
        ({"overruled": {"seeds": " "}}, "overrule of seeds"), ({"overruled": {"seeds": "x", "recall": "y"}}, "recall"),
        ({"acknowledged": ["weapon"]}, "negative=door"), ({"acknowledged": [*SMALL, "place=mall"]}, "place=mall"),
        ({"acknowledged": []}, "weapon=M16"), ({"acknowledged": ["weapon=M16", "negative"]}, "weapon=Uzi"),
    ],
)  # fmt: skip
def test_what_an_approval_lacks_is_named_and_nothing_written(tmp_path, values, words):
    path = folder(tmp_path)
    with pytest.raises(ValueError, match=words):
        approve(path, **values)
    assert sorted(file.name for file in path.iterdir()) == [review.PAGE, review.GATES]


@pytest.mark.parametrize("name", ["new", "parity-model"])
def test_neither_the_champion_nor_a_model_without_parity_can_be_approved(tmp_path, name):
    path = folder(tmp_path, failed=(name,), small=())
    with pytest.raises(ValueError, match="no reason overrules"):
        approve(path, overruled={name: "again"}, acknowledged=[])


def test_an_unknown_decision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="approve or reject"):
        review.decide(folder(tmp_path), "perhaps", by="Ada", reason="x")


def test_a_dossier_or_gates_that_were_altered_are_found(tmp_path):
    path = folder(tmp_path)
    (path / review.PAGE).write_text("<html>!")
    with pytest.raises(ValueError, match="sha256"):
        approve(path)
    approve(folder(tmp_path))
    gates = (path / review.GATES).read_text()
    (path / review.GATES).write_text(gates.replace("false", "true"))
    with pytest.raises(ValueError, match="not what"):
        review.decided(path)
    (path / review.GATES).write_text(gates)
    (path / review.PAGE).write_text("<html>!")
    with pytest.raises(ValueError, match="sha256"):
        review.decided(path)


def test_of_reviewers_at_once_one_decides_and_the_others_are_told(tmp_path):
    path, messages, ready = folder(tmp_path), [], threading.Barrier(8)

    def decide(i: int):
        ready.wait()
        try:
            review.decide(path, "reject", by=f"r{i}", reason="worse")
        except ValueError as e:
            messages.append(str(e))

    threads = [threading.Thread(target=decide, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = json.loads((path / review.FILE).read_text())["by"]
    assert len(messages) == 7 and all(f"{winner} decided at" in text for text in messages)
    assert not list(path.glob(".*"))
    with pytest.raises(ValueError, match=f"{winner} decided at"):  # before anything that an approval lacks
        review.decide(path, "approve", by="Ada", reason="better")


NAMES = st.lists(st.sampled_from(["a=1", "a=2", "b=1", "b=2", "c=3"]), unique=True)


@given(NAMES, NAMES)
def test_an_approval_names_all_small_slices_and_no_other(small, named):
    gates = {"small": small}
    if set(named) == set(small):
        assert review.acknowledgements(gates, named) == small
    else:
        with pytest.raises(ValueError):
            review.acknowledgements(gates, named)
