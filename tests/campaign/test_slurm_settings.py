"""Time limits as SLURM writes them, in all their forms; tests/slurm/test_profiles.py has the other settings."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.campaign.slurm_settings import parse_minutes

FORMS = [
    ("{minutes}", ("minutes",)),
    ("{minutes}:{seconds}", ("minutes", "seconds")),
    ("{hours}:{minutes}:{seconds}", ("hours", "minutes", "seconds")),
    ("{days}-{hours}", ("days", "hours")),
    ("{days}-{hours}:{minutes}", ("days", "hours", "minutes")),
    ("{days}-{hours}:{minutes}:{seconds}", ("days", "hours", "minutes", "seconds")),
]
SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@given(
    form=st.sampled_from(FORMS),
    values=st.fixed_dictionaries({name: st.integers(0, 59) for name in SECONDS}),
    width=st.sampled_from([1, 2]),
)
@settings(max_examples=300, deadline=None)
def test_every_form_is_its_seconds_rounded_up_to_minutes(form, values, width):
    pattern, named = form
    text = pattern.format(**{name: f"{value:0{width}d}" for name, value in values.items()})
    expected = math.ceil(sum(values[name] * SECONDS[name] for name in named) / 60)
    if expected:
        assert parse_minutes(text) == parse_minutes(f" {text}\n") == expected
    else:
        with pytest.raises(ValueError, match="at least one minute"):
            parse_minutes(text)


@given(st.one_of(st.text(alphabet="0123456789:-. dh", max_size=12), st.text(max_size=6), st.floats(), st.none()))
@settings(max_examples=300, deadline=None)
def test_anything_else_is_refused_in_one_line(value):
    try:
        minutes = parse_minutes(value)
    except ValueError as error:
        assert "time limit" in str(error) and "\n" not in str(error)
    else:
        assert minutes >= 1
