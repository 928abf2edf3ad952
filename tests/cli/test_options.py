"""Guests and their numbers as they are written on the command line."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.cli.options import parse_guests
from inpaint_hpc.cli.series import parse_counts
from inpaint_hpc.errors import InputError

SPACE = st.sampled_from(["", " "])


@given(st.lists(st.tuples(st.sampled_from(["Li", "Na", "K", "Mg"]), st.one_of(st.none(), st.integers(0, 99)), SPACE)))
@settings(max_examples=200, deadline=None)
def test_guests_that_are_named_several_times_add_up(named):
    expected = Counter()
    for element, count, _ in named:
        expected[element] += 1 if count is None else count
    written = [space + (el if n is None else f"{el}{space}={space}{n}") + space for el, n, space in named]
    assert parse_guests(written) == dict(expected)


@given(st.text(max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_other_text_is_a_name_or_refused_in_one_line(text):
    try:
        found = parse_guests([text])
    except InputError as error:
        assert "cannot read --guest" in str(error)
    else:
        ((element, count),) = found.items()
        assert element and element == element.strip() and "=" not in element and count >= 0


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6), st.integers(-3, 20), st.integers(-3, 20), SPACE)
@settings(max_examples=200, deadline=None)
def test_numbers_of_a_series(several, low, high, space):
    assert parse_counts(space + f",{space}".join(map(str, several)) + space) == several
    text = f"{low}{space}..{space}{high}"
    if 0 <= low <= high:
        assert parse_counts(text) == list(range(low, high + 1))
    else:
        with pytest.raises(InputError, match="cannot read --counts"):
            parse_counts(text)
