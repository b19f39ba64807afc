"""What a threshold costs on the validation streams: how high it may be, and what is refused as deaf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.site import cost
from gunshot.site.rehearsal import AFTER, BEFORE

POINT = 2  # its place among the rows below
RECALLS = st.lists(st.floats(0.0, 1.0), min_size=POINT + 1, max_size=8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("reports") / "operating.csv"


def write(file, recalls: list[float]) -> None:
    rows = [f"simulated,{model},{i / 4},9,{recall if model == 'int8' else 1.0},0" for model in ("int8", "float")
            for i, recall in enumerate(recalls)]  # fmt: skip
    file.write_text("\n".join(["origin,model,logit,shots,recall,recall_lower", *rows]))


@pytest.mark.slow
@given(RECALLS)
def test_what_is_kept_is_where_a_walk_upward_comes(file, recalls):
    write(file, recalls)
    at = recalls[POINT]
    if not at:
        with pytest.raises(ValueError, match="must be above 0"):
            cost.kept(file, "int8", POINT / 4)
        return
    place = POINT
    while place + 1 < len(recalls) and recalls[place + 1] >= at / 2:
        place += 1
    assert cost.kept(file, "int8", POINT / 4) == [i / 4 for i in range(POINT, place + 1)]
    cost.check("yard", {BEFORE: {"recall": at}, AFTER: {"recall": recalls[place]}}, where="of a test")
    if place + 1 < len(recalls):
        deaf = {BEFORE: {"recall": at}, AFTER: {"recall": recalls[place + 1]}}
        with pytest.raises(ValueError, match=r"yard: .* of clear shots of a test, of .* the device is deaf"):
            cost.check("yard", deaf, where="of a test")


def test_where_nothing_is_heard_even_at_the_operating_point_it_is_refused():
    with pytest.raises(ValueError, match=r"yard: the operating point itself has no recall of clear shots of a test"):
        cost.check("yard", {BEFORE: {"recall": 0.0}, AFTER: {"recall": 0.0}}, where="of a test")


def test_what_is_not_known_is_an_error(tmp_path, file):
    with pytest.raises(ValueError, match="no such file; make it with `dvc repro operate`"):
        cost.kept(tmp_path / "gone.csv", "int8", 0.5)
    write(file, [1.0])
    for model, point in (("forest", 0.0), (None, 0.0), ("int8", 0.1)):
        with pytest.raises(ValueError, match=f"model={model} has no row of logit={point:g}"):
            cost.kept(file, model, point)
