"""Records of any content come back from a file as they were."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from made_up_results import make_record, same

from inpaint_hpc.archive.fields import stored_columns
from inpaint_hpc.archive.read import Archive
from inpaint_hpc.archive.records import TaskRecord
from inpaint_hpc.archive.rows import (
    CONVERGED,
    DIVERGED,
    RELAX,
    UNFINISHED,
    Candidate,
    HostEnergies,
    Provenance,
    Relaxed,
    Sample,
    Site,
)
from inpaint_hpc.archive.verify import verify
from inpaint_hpc.archive.write import write_result
from inpaint_hpc.crystals.batch import Crystal

DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
# NUL would end a text in HDF5; lone surrogates are no text.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
LINE = TEXT.map(lambda text: " ".join(text.split()))
SAID = LINE.map(lambda text: text or "why")
FINITE = st.floats(-1e300, 1e300)
POSITIVE = st.floats(0.0, 1e300)
SHARE = st.floats(0.0, 1.0)
FRACTION = st.floats(0.0, 1.0, exclude_max=True)
WHOLE = st.integers(0, 2**40)
NUMBERS = st.integers(1, 118)


def array(draw, shape, elements):
    """A few numbers over and over: most of the time goes into drawing them."""
    return np.resize(np.array(draw(st.lists(elements, min_size=1, max_size=4)), dtype=np.float64), shape)


def contents(path):
    """Every dataset by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None)
    return found


def several(draw, elements, n):
    return tuple(np.resize(np.array(draw(st.lists(elements, min_size=1, max_size=2)), dtype=object), n).tolist())


@st.composite
def hosts(draw):
    n = draw(st.integers(1, 4))
    lattice = np.diag(array(draw, (3,), st.floats(0.5, 50.0))) + np.tril(array(draw, (3, 3), st.floats(-9, 9)), -1)
    info = draw(st.dictionaries(TEXT, st.none() | st.booleans() | WHOLE | FINITE | TEXT | st.lists(WHOLE), max_size=3))
    numbers = np.array(several(draw, NUMBERS, n))
    return Crystal(numbers, array(draw, (n, 3), st.floats(-9.0, 9.0)), lattice, draw(TEXT), info)


@st.composite
def relaxations(draw, n_guests, n_atoms):
    outcome = draw(st.sampled_from([CONVERGED, UNFINISHED, DIVERGED]))
    if outcome == DIVERGED:
        return Relaxed(outcome=outcome, steps=draw(WHOLE))
    return Relaxed(
        outcome=outcome,
        steps=draw(WHOLE),
        energy_per_atom=draw(FINITE),
        max_force=draw(st.none() | POSITIVE),
        max_guest_force=draw(st.none() | POSITIVE),
        energy_per_guest=draw(st.none() | FINITE),
        lattice=array(draw, (3, 3), FINITE) if draw(st.booleans()) else None,
        guest_frac_coords=array(draw, (n_guests, 3), FRACTION),
        host_frac_coords=array(draw, (n_atoms, 3), FINITE) if draw(st.booleans()) else None,
    )


@st.composite
def sites(draw):
    orbits = draw(st.integers(0, 2))
    ion = draw(NUMBERS)
    return [
        Site(
            ion=ion,
            orbit=orbit,
            wyckoff=draw(TEXT),
            coordination=draw(st.sampled_from(["{}", '{"O": [4, 2.1]}'])),
            occupancy=draw(SHARE),
            spread=draw(POSITIVE),
            energy=draw(st.none() | FINITE),
            shift=draw(st.none() | POSITIVE),
            settles_on=draw(st.integers(-1, orbits - 1)),
            symprec=draw(POSITIVE),
            positions=draw(WHOLE),
            saturated=draw(st.booleans()),
            frac_coords=array(draw, (draw(st.integers(1, 3)), 3), FRACTION),
        )
        for orbit in range(orbits)
    ]


@st.composite
def results(draw, n_guests, n_atoms):
    """Samples and candidates that agree with each other, as a result must."""
    n = draw(st.integers(0, 3))
    valid = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    n_candidates = draw(st.integers(0, 2))
    owner = [draw(st.integers(-1, n_candidates - 1)) if fine else -1 for fine in valid]
    indices = draw(st.lists(WHOLE, min_size=n, max_size=n, unique=True))
    samples = [
        Sample(
            index,
            fine,
            "" if fine else draw(SAID),
            draw(POSITIVE if fine else st.none() | POSITIVE),
            candidate,
            array(draw, (n_guests, 3), FRACTION if fine or draw(st.booleans()) else st.just(np.nan)),
        )
        for index, fine, candidate in zip(indices, valid, owner, strict=True)
    ]
    candidates = []
    for rank in range(n_candidates):
        relaxed = draw(st.none() | relaxations(n_guests, n_atoms))
        diverged = relaxed is not None and relaxed.outcome == DIVERGED
        candidates.append(
            Candidate(
                rank=rank,
                sample=draw(st.sampled_from([-1, *indices])),
                members=tuple(index for index, one in zip(indices, owner, strict=True) if one == rank),
                agreement=draw(SHARE),
                spread=draw(st.none() | POSITIVE),
                min_distance=draw(POSITIVE),
                energy_per_atom=draw(st.none() | FINITE),
                max_force=draw(st.none() | POSITIVE),
                max_guest_force=draw(st.none() | POSITIVE),
                error=draw(SAID if diverged else LINE),
                guest_frac_coords=array(draw, (n_guests, 3), FRACTION),
                multiplicity=several(draw, WHOLE, n_guests),
                wyckoff=several(draw, TEXT, n_guests),
                relaxed=relaxed,
                placements=draw(st.integers(1, 9)) if relaxed is not None else 1,
                origin=draw(TEXT),
                energy_per_guest=draw(st.none() | FINITE),
                placed_agreement=draw(st.none() | SHARE),
                placed_multiplicity=several(draw, WHOLE, n_guests),
                placed_wyckoff=several(draw, TEXT, n_guests),
                coordination=several(draw, TEXT, n_guests),
                environment=several(draw, TEXT, n_guests),
                bond_valence_sum=several(draw, POSITIVE, n_guests),
            )
        )
    return {"samples": samples, "candidates": candidates}


@st.composite
def records(draw, task_id):
    host = draw(hosts())
    guests = tuple(sorted(draw(st.lists(NUMBERS, min_size=1, max_size=3))))
    content = {"notes": tuple(line for line in draw(st.lists(LINE, max_size=2)) if line)}
    if draw(st.booleans()):
        content = {"status": "failed", "error": draw(SAID), "traceback": draw(TEXT)}
        content["attempts"] = draw(st.integers(1, 9))
    else:
        content |= draw(results(len(guests), len(host))) | {"sites": draw(sites())}
        content["confidence"] = draw(st.none() | SHARE)
        content["n_evaluations"] = draw(st.none() | WHOLE)
    if draw(st.booleans()):
        content["reference_frac_coords"] = array(draw, (len(guests), 3), FINITE)
    if draw(st.booleans()):
        content["host_energies"] = HostEnergies(
            energy=draw(FINITE),
            relaxed_energy=draw(st.none() | FINITE),
            relaxed_volume=draw(st.none() | POSITIVE),
            relaxation=draw(st.sampled_from(["", CONVERGED, UNFINISHED])),
        )
        content["provenance"] = Provenance(
            potential=draw(TEXT.filter(bool)),
            potential_sha256=draw(DIGEST),
            treatment=draw(st.sampled_from(RELAX)),
            fmax=draw(st.none() | POSITIVE),
            relax_steps=draw(WHOLE),
            weights_sha256=draw(DIGEST),
            settings_sha256=draw(DIGEST),
        )
    return TaskRecord(
        task_id=task_id,
        host=host,
        guests=guests,
        n_requested=draw(WHOLE),
        seconds=draw(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), POSITIVE, max_size=3)),
        worker=draw(TEXT),
        **content,
    )


@given(st.data())
@settings(max_examples=15, deadline=None, phases=[Phase.generate])
def test_any_records_come_back_as_they_were(data):
    ids = data.draw(st.lists(DIGEST, min_size=1, max_size=3, unique=True))
    written = [data.draw(records(task_id)) for task_id in ids]
    # Hosts of equal content are one row of the file, which keeps the name of the first.
    first: dict[str, Crystal] = {}
    written = [replace(record, host=first.setdefault(record.host_id, record.host)) for record in written]
    with TemporaryDirectory() as folder:
        path, again = Path(folder) / "result.h5", Path(folder) / "again.h5"
        write_result(path, written)
        assert verify(path) == []
        with Archive(path) as archive:
            read = list(archive.iter_records())
            for old, new in zip(written, read, strict=True):
                differ = [f for f in old.__dataclass_fields__ if not same(getattr(old, f), getattr(new, f))]
                assert differ == [], (differ, [(getattr(old, f), getattr(new, f)) for f in differ])
        # What was read is written as it was.
        write_result(again, read)
        new, old = contents(again), contents(path)
        assert set(new) ^ set(old) == set() and [n for n in new if new[n] != old[n]] == []


def test_a_value_of_zero_is_known(tmp_path):
    written = make_record(1, host_energies=HostEnergies(energy=0.0))
    write_result(tmp_path / "a.h5", [written])
    with Archive(tmp_path / "a.h5") as archive:
        assert same(archive.record(0), written)


def test_a_column_lists_the_values_of_its_rows(tmp_path):
    records = [make_record(k, newest=k % 2 == 0) for k in range(20)]
    write_result(tmp_path / "a.h5", records, {})
    with Archive(tmp_path / "a.h5") as archive:
        for record in [*records, *archive.iter_records()]:
            for rows in (record.samples, record.candidates):
                for name in stored_columns(rows.kind):
                    assert same(rows.listed(name), [rows.value(name, row) for row in range(len(rows))]), name
