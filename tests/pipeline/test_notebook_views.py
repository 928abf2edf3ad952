"""What a notebook shows of results and candidates: complete HTML in which no text can become a tag."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from example_hosts import SPINEL

from inpaint_hpc.pipeline.results import Candidate, InpaintResult

EVIL = '<script>alert("x")</script> & more'


class Tags(HTMLParser):
    """Tags that were opened, and the text between them."""

    def __init__(self, page):
        super().__init__()
        self.opened, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.opened.add(tag)

    def handle_data(self, data):
        self.text += data


def candidate(rank, **changes):
    return Candidate(
        rank=rank,
        guest_frac_coords=np.array([[0.125] * 3]),
        sample=rank,
        members=(rank,),
        agreement=0.25,
        spread=None,
        min_distance=1.9375,
        wyckoff=("8a",),
        **changes,
    )


def result(n):
    host = replace(SPINEL, name=EVIL)
    found = tuple(candidate(rank, energy_per_atom=-7.5 - rank, error=EVIL) for rank in range(n))
    return InpaintResult(host, (3,), found, 4, 0, notes=(EVIL,), confidence=0.875)


@pytest.mark.parametrize("n", [0, 1, 12])
def test_a_result_is_a_table_of_its_candidates(n):
    page = Tags(result(n)._repr_html_())
    assert "script" not in page.opened and page.text.count(EVIL) == 2  # host and note
    assert f"{n} candidates of 4 samples" in page.text and ("table" in page.opened) == (n > 0)
    assert ("and 2 more" in page.text) == (n == 12)
    assert ("-7.5000" in page.text and "8a" in page.text) == (n > 0)


def test_a_candidate_is_a_table_of_what_is_known():
    page = Tags(candidate(0, energy_per_atom=-7.5, origin=EVIL)._repr_html_())
    assert page.opened == {"table", "tr", "th", "td"} and EVIL in page.text
    assert "energy_per_atom_eV-7.5" in page.text and "1.9375" in page.text and "8a" in page.text
    assert "spread_A" not in page.text  # not known


def test_there_is_no_view_of_what_is_not_there():
    with pytest.raises(IndexError, match="none of rank 3"):
        result(1).view(3)
