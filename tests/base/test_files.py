"""Names of any bytes, as they are shown."""

import os

from hypothesis import given
from hypothesis import strategies as st

from gunshot.base.files import shown


@given(st.binary(min_size=1, max_size=30))
def test_any_name_is_shown_as_text_on_one_line(name):
    text = shown(os.fsdecode(name))
    assert text.encode("utf-8") and len(text.splitlines()) == 1 and "\x1b" not in text


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=30))
def test_a_name_in_any_script_is_shown_as_it_is(name):
    assert shown(name) == name
