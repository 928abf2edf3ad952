"""JSON element by element: the same as Python's own decoder, whatever the size of the pieces."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from inpaint_hpc.crystals import json_stream
from inpaint_hpc.crystals.json_stream import JsonStream
from inpaint_hpc.crystals.reading import iter_hosts
from inpaint_hpc.errors import InputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NIO = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict()


@settings(deadline=None)
@given(VALUES, st.sampled_from([None, 1]), st.integers(1, 9))
def test_elements_and_names_are_those_of_the_whole(value, indent, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK", chunk)
        text = json.dumps(value, indent=indent)
        assert JsonStream(io.StringIO(f" {text}\n")).value() == value
        stream = JsonStream(io.StringIO(text))
        if isinstance(value, list):
            assert [stream.value() for _ in stream.elements()] == value
        elif isinstance(value, dict):
            assert {name: stream.value() for name in stream.names()} == value
        else:
            stream.value()
        assert stream.next_character() == ""


@pytest.mark.parametrize("text", ['{"a": 1', '{"a" 1}', "{1: 2}", '{"a": 1 "b": 2}', "{", '{"a": }', '{"a": 1,}'])
def test_what_is_not_json_has_one_line_that_says_where(text):
    stream = JsonStream(io.StringIO("\n\n" + text))
    with pytest.raises(InputError, match=r"not JSON.*(line 3|in quotes)"):
        for _ in stream.names():
            stream.value()


def test_an_endless_element_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 1000)
    monkeypatch.setattr(json_stream, "LONGEST", 10_000)
    with pytest.raises(InputError, match="longer than"):
        JsonStream(io.StringIO('"' + "x" * 100_000)).value()


@pytest.mark.parametrize(
    "pattern",
    [
        lambda rows: "[" + ",".join(rows) + "]",
        lambda rows: "\n".join(f'{{"structure": {row}}}' for row in rows),
        lambda rows: '{"structure": {' + ",".join(f'"{i}": {row}' for i, row in enumerate(rows)) + "}}",
        lambda rows: '{"columns": ["structure"], "data": [' + ",".join(f"[{row}]" for row in rows) + "]}",
    ],
)
def test_only_one_structure_is_in_memory(pattern, tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", 1 << 12)
    path, row = tmp_path / "a.json", json.dumps(NIO)
    path.write_text(pattern([row] * 1000))
    next(iter_hosts(path))  # imports
    tracemalloc.start()
    assert sum(1 for _ in iter_hosts(path)) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 3


def test_a_file_that_is_cut_off_gives_what_comes_before_and_an_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([NIO] * 5)[:-100])
    errors = []
    assert [host.name for host in iter_hosts(path, errors.append)] == ["a-0", "a-1", "a-2"]
    assert len(errors) == 1 and "cut off" in str(errors[0])
    with pytest.raises(InputError, match=r"a\.json: not JSON, or cut off"):
        list(iter_hosts(path))
