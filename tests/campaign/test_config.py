"""Configurations: what is accepted, and what each mistake is answered with."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaint_hpc.campaign.config import MAX_COUNT, PIPELINE_KEYS, CampaignConfig, load_config, parse_range
from inpaint_hpc.campaign.config_template import EXAMPLE
from inpaint_hpc.cli.main import cli
from inpaint_hpc.configuration import validate
from inpaint_hpc.errors import InputError

ROOT = Path(__file__).parents[2]
BASE = {"hosts": {"examples": "mno2"}, "guests": {"Li": 1}, "output": "runs/x"}


def config(**changes):
    return validate(CampaignConfig, {**BASE, **changes}, "campaign.yaml")


@pytest.mark.parametrize(
    ("guests", "expected"),
    [
        ("Li", {"Li": (1,)}),
        ({"Li": 2}, {"Li": (2,)}),
        ({"Li": "1..4"}, {"Li": (1, 2, 3, 4)}),
        ({"Li": [4, 1, 4]}, {"Li": (4, 1)}),
        ({"Li": 1, "Na": "0..1"}, {"Li": (1,), "Na": (0, 1)}),
        ({"place": {"Li": 3}}, {"Li": (3,)}),
    ],
)
def test_numbers_of_guests(guests, expected):
    assert config(guests=guests).guests[0].place == expected


def test_all_kinds_of_cases_and_hosts_survive_being_frozen():
    written = config(
        hosts=["hosts/*.cif", {"path": "wbm.h5", "atoms": "..40", "anion": "O", "where": {"a": "0.5..4", "b": [1, 2]}}],
        guests=[
            {"Li": "1..4", "supercell": 2, "samples": 5},
            {"Li": {"column": "n"}, "supercell": {"min_width": 9}},
            {"remove": ["Li", "Na"]},
            {"from_columns": {"species": "z", "count": "n"}},
        ],
        sampling={"steps": 20, "sigma_max": 3.0},
        resources={"actors": 2, "edge_budget": 5000},
    )
    read = validate(CampaignConfig, yaml.safe_load(written.to_yaml()), "config.yaml")
    assert read == written
    assert read.hosts[0].path == "hosts/*.cif"
    assert read.hosts[1].atoms == (float("-inf"), 40.0)
    assert read.guests[0].supercell.repeat == (2, 2, 2)
    settings = read.sampling_settings()
    assert (settings.steps, settings.sigma_max, settings.samples, settings.edge_budget) == (20, 3.0, 16, 5000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hots": 1}, "unknown key 'hots'; did you mean 'hosts'?"),
        ({"sampling": {"step": 3}}, "unknown key 'sampling.step'; did you mean 'steps'?"),
        ({"pipeline": {"tolerances": 1}}, "unknown key 'pipeline.tolerances'; did you mean 'tolerance'?"),
        ({"resources": {"actor": 1}}, "unknown key 'resources.actor'; did you mean 'actors'?"),
        ({"hosts": {"example": "mno2"}}, "unknown key 'hosts.0.example'; did you mean 'examples'?"),
        (
            {"hosts": {"path": "x", "elements": {"includes": "O"}}},
            "'hosts.0.elements.includes'; did you mean 'include'?",
        ),
        ({"guests": {"Lii": 1}}, "guests.0: unknown key 'Lii'; did you mean 'Li'?"),
        ({"guests": {"Li": 1, "supercel": 2}}, "guests.0: unknown key 'supercel'; did you mean 'supercell'?"),
        ({"guests": {"Li": 1, "supercell": {"min_with": 2}}}, "supercell.min_with'; did you mean 'min_width'?"),
        ({"guests": {"from_columns": {"species": "z"}}}, "'guests.0.from_columns.count' is missing"),
        ({"sampling": {"steps": 1}}, "sampling: 1 steps are too few"),
        ({"sampling": {"steps": "many"}}, "sampling.steps: Input should be a valid integer"),
        ({"sampling": {"sampler": "hein"}}, "sampling: unknown sampler 'hein'"),
        (
            {"pipeline": {"relax": "everything"}},
            "pipeline.relax: Input should be 'none', 'guests', 'positions' or 'cell'",
        ),
        ({"pipeline": {"relax": "cell", "score": False}}, "pipeline: relax 'cell' needs CHGNet"),
        ({"pipeline": {"top_k": 0}}, "pipeline: top_k must be at least 1, not 0"),
        ({"pipeline": {"fmax": 0}}, "pipeline: fmax must be above 0"),
        ({"pipeline": {"relax_steps": 0}}, "pipeline: relax_steps must be at least 1"),
        ({"pipeline": {"chgnet": "0.4.0"}}, "pipeline: unknown CHGNet weights '0.4.0'; choose one of 0.3.0"),
        ({"pipeline": {"tolerance": 9}}, "pipeline: tolerance must be above 0 and below 5 A, not 9"),
        ({"guests": {"Li": "4..1"}}, "the range 4..1 is empty"),
        ({"guests": {"Li": "1..x"}}, "write a range like 2..40, 2.. or ..40, not '1..x'"),
        ({"guests": {"Li": "1.."}}, "needs two whole numbers like 1..4, not '1..'"),
        ({"guests": {"Li": 1.5}}, "a number of guests is 4, 1..4, [1, 2, 4] or {column: NAME}, not 1.5"),
        ({"guests": {"Li": True}}, "not True"),
        ({"guests": {"Li": -1}}, "not -1"),
        ({"guests": {"Li": []}}, "no number of guests given"),
        ({"guests": {"Li": {"columns": "n"}}}, "is written {column: NAME}"),
        ({"guests": {"Pm": 1, "Cm": 1}}, "unknown element 'Cm'"),
        ({"guests": {"remove": "Xx"}}, "unknown element 'Xx'"),
        (
            {"guests": {"Li": 1, "remove": "Li"}},
            "exactly one of elements to place, 'remove', 'remove_last' and 'from_columns'",
        ),
        ({"guests": {"Li": 1, "place": {"Na": 1}}}, "either below 'place' or beside it"),
        ({"guests": {}}, "exactly one of elements to place"),
        ({"guests": []}, "guests: is empty"),
        ({"guests": 3}, "write guests like 'Li: 1..4'"),
        ({"guests": {"Li": 1, "supercell": [2, 2]}}, "write a supercell as 2, [2, 2, 1] or {min_width: 9.0}"),
        ({"guests": {"Li": 1, "supercell": 0}}, "repeats of a cell must be 1 to 20"),
        ({"hosts": []}, "hosts: is empty"),
        ({"hosts": {"examples": "mno3"}}, "no examples 'mno3' come with the package; choose from mno2"),
        ({"hosts": {"path": "x", "examples": "mno2"}}, "exactly one of 'path' and 'examples'"),
        ({"hosts": {"path": "x", "atoms": "9..2"}}, "hosts.0.atoms: the range 9..2 is empty"),
        ({"hosts": {"path": "x", "where": {"a": "9..2"}}}, "the range 9..2 is empty"),
        ({"hosts": {"path": "x", "anion": "Q"}}, "unknown element 'Q'"),
        ({"resources": {"actors": 0}}, "a number of workers of at least 1, or auto, not 0"),
        ({"resources": {"device": "tpu"}}, "resources.device: Input should be 'auto', 'cpu' or 'cuda'"),
        ({"samples": 0}, "samples: Input should be greater than 0 (given: 0)"),
    ],
)
def test_every_mistake_gets_one_line(changes, message):
    with pytest.raises(InputError) as error:
        config(**changes)
    assert str(error.value).startswith("campaign.yaml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hosts: [", "not YAML"),
        ("a: 1\na: 2\n", "the key 'a' is given twice, line 2"),
        ("- 1\n", "a campaign configuration is a mapping with at least 'hosts', 'guests' and 'output'"),
        ("", "is a mapping"),
        ("hosts: x\nguests: Li\n", "'output' is missing"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_config(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        load_config(tmp_path / "binary.yaml")


def test_overrides_replace_values_and_leave_their_neighbours(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump({**BASE, "resources": {"actors": 4, "threads": 2}}))
    read = load_config(path, {"output": "elsewhere", "resources": {"actors": 1}})
    assert (str(read.output), read.resources.actors, read.resources.threads) == ("elsewhere", 1, 2)


@pytest.mark.parametrize("name", ["demo", "mno2", "wbm", "electrodes"])
def test_the_configurations_in_the_repository_are_valid(name):
    read = load_config(ROOT / "configs" / f"{name}.yaml")
    assert str(read.output) == f"runs/{name}"
    assert all(line.startswith("#") for line in (ROOT / "configs" / f"{name}.yaml").read_text().splitlines()[:2])


def test_init_writes_a_valid_commented_example_once(tmp_path):
    path = tmp_path / "campaign.yaml"
    result = CliRunner().invoke(cli, ["init", str(path)])
    assert result.exit_code == 0 and "inpaint-hpc plan" in result.output
    assert load_config(path).guests[0].place == {"Li": (1, 2)}
    again = CliRunner().invoke(cli, ["init", str(path)])
    assert again.exit_code == 2 and "exists already" in again.output
    assert CliRunner().invoke(cli, ["init", str(path), "--force"]).exit_code == 0
    assert CliRunner().invoke(cli, ["init", "-"]).output == EXAMPLE


def test_every_commented_line_of_the_example_is_valid_too(tmp_path):
    """Hints that do not work are worse than none: take the '#' off each commented key in turn."""
    lines = EXAMPLE.splitlines()
    hints = [
        i for i, line in enumerate(lines) if line.lstrip().startswith("# ") and (line.startswith(" ") or ": s" in line)
    ]
    assert len(hints) > 12
    for i in hints:
        text = lines[i].replace("# ", "", 1)
        changed = [*lines[:i], text, *lines[i + 1 :]]
        if text.strip().startswith("path:"):
            changed = [line.replace("- examples: mno2", "-") for line in changed]
        if text.strip().startswith(("supercell", "samples: 32")):
            changed = [
                line.replace("# - Li: 1", "- Li: 1") if line.strip() == "# - Li: 1" else line for line in changed
            ]
        path = tmp_path / "campaign.yaml"
        path.write_text("\n".join(changed))
        load_config(path)


def test_a_misspelt_required_key_is_named_and_not_only_missed():
    wrong = {"guestz" if key == "guests" else key: value for key, value in BASE.items()}
    with pytest.raises(InputError, match=r"unknown key 'guestz'; did you mean 'guests'\?"):
        validate(CampaignConfig, wrong, "campaign.yaml")


@pytest.mark.parametrize("old", PIPELINE_KEYS)
def test_former_names_of_keys_mean_the_same_and_are_what_is_stored(old):
    value = {"settle": 0.25}.get(old, 5)
    made = [config(pipeline={key: value}) for key in (old, PIPELINE_KEYS[old])]
    assert made[0] == made[1] and made[0].model_dump()["pipeline"][old] == value
    with pytest.raises(InputError, match=f"'pipeline.{old}' is the former name of '{PIPELINE_KEYS[old]}'"):
        config(pipeline={old: value, PIPELINE_KEYS[old]: value})


def test_problems_name_keys_as_they_are_written_now():
    with pytest.raises(InputError, match="refine_sigma must be at least 0"):
        config(pipeline={"refine_sigma": 9.0})
    with pytest.raises(InputError, match="did you mean 'max_candidates'"):
        config(pipeline={"max_candidate": 1})


END = st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6).map(lambda value: round(value, 6)))


def plainly(number):
    """A number without an exponent."""
    return f"{number:f}" if isinstance(number, float) else str(number)


@given(low=st.none() | END, high=st.none() | END, space=st.sampled_from(["", " "]))
@settings(max_examples=300, deadline=None)
def test_ranges_are_what_they_say_and_survive_being_frozen(low, high, space):
    ends = [-float("inf") if low is None else float(low), float("inf") if high is None else float(high)]
    text = f"{space}..{space}".join("" if end is None else plainly(end) for end in (low, high))
    if ends[0] > ends[1]:
        with pytest.raises(ValueError, match="wrong way round"):
            parse_range(text)
        return
    assert parse_range(text) == tuple(ends)
    frozen = config(hosts={"examples": "mno2", "atoms": text}).to_yaml()
    assert validate(CampaignConfig, yaml.safe_load(frozen), "config.yaml").hosts[0].atoms == tuple(ends)


@given(st.integers(-5, MAX_COUNT + 5), st.integers(-5, MAX_COUNT + 5))
@settings(max_examples=100, deadline=None)
def test_numbers_of_guests_in_a_range(low, high):
    if 0 <= low <= high <= MAX_COUNT:
        assert config(guests={"Li": f"{low}..{high}"}).guests[0].place == {"Li": tuple(range(low, high + 1))}
    else:
        with pytest.raises(InputError, match=r"campaign\.yaml"):
            config(guests={"Li": f"{low}..{high}"})
