"""What is asked of SLURM: profiles, options, time limits.  Needs no SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from submitit.core.utils import DelayedSubmission

from inpaint_hpc.campaign.config import load_config
from inpaint_hpc.campaign.slurm_settings import SlurmSection, parse_minutes
from inpaint_hpc.cli.main import cli
from inpaint_hpc.cluster.slurm import sbatch, submit
from inpaint_hpc.cluster.slurm.allocation import Allocation, workers_per_node
from inpaint_hpc.cluster.slurm.collect_job import CollectJob
from inpaint_hpc.cluster.slurm.rendezvous import JobContext, Rendezvous
from inpaint_hpc.cluster.slurm.sbatch_variables import unused_variables
from inpaint_hpc.cluster.slurm.site_profiles import PACKAGED, load_settings, sources_of_settings
from inpaint_hpc.errors import InputError
from inpaint_hpc.planning.create_run import create_run

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [(30, 30), ("30", 30), ("90:00", 90), ("0:30", 1), ("2:00:00", 120), ("1-12", 2160), ("1-00:30:01", 1471)],
)
def test_time_limits_as_slurm_writes_them(text, minutes):
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "", "-5", 0, True, 1.5, "0:00"])
def test_other_time_limits_are_refused(text):
    with pytest.raises(ValueError, match="time limit"):
        parse_minutes(text)


@pytest.mark.parametrize("name", [path.stem for path in sorted(PACKAGED.glob("*.yaml"))])
def test_packaged_profiles_are_valid(name):
    settings = load_settings(name)
    assert settings.nodes >= 1 and 5 <= settings.warning_seconds <= 60


def test_options_take_the_place_of_the_profile_and_lists_are_added(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "inpaint_hpc" / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("partition: gpu\nqos: high\nsetup: [module load a]\nextra: {licenses: x}\n")
    options = {"qos": "low", "account": None, "setup": ["module load b"], "extra": {"--comment": "y"}}
    settings = load_settings("mine", options)
    assert (settings.partition, settings.qos, settings.account) == ("gpu", "low", None)
    assert settings.setup == ["module load a", "module load b"]
    assert settings.extra == {"licenses": "x", "comment": "y"}


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        *(("job-n", "job-name"), ("J", "job-name"), ("-J", "job-name"), ("--job_name", "job-name"), ("arr", "array")),
        *(("o", "output"), ("outp", "output"), ("t", "time"), ("tim", "time"), ("wai", "wait"), ("Q", "quiet")),
        *(("N", "nodes"), ("no-req", "no-requeue"), ("test-only", "test-only"), ("parsable", "parsable")),
    ],
)
def test_options_of_submission_itself_are_refused_under_every_name(key, ours):
    with pytest.raises(InputError, match=rf"'{ours}'.* cannot be set in 'extra'"):
        load_settings(None, {"extra": {key: "x"}})


def test_other_options_are_taken_under_every_name():
    extra = {"-M": "a,b", "x": "n1", "--mail_type": "END", "nodelist": "n2", "wait-all-nodes": 1, "time-min": 5}
    settings = load_settings(None, {"extra": extra})
    cleaned = {"clusters": "a,b", "exclude": "n1", "mail-type": "END", "nodelist": "n2"}
    assert settings.extra == cleaned | {"wait-all-nodes": 1, "time-min": 5}
    assert settings.clusters == "a,b" and load_settings(None, {"extra": {"cluster": "c"}}).clusters == "c"
    assert load_settings().clusters == load_settings(None, {"extra": {"clusters": False}}).clusters == ""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("8\n", ("8", "")),
        ("8;cm2\n", ("8", "cm2")),
        ("Submitted batch job 8\n", ("8", "")),
        ("Submitted batch job 8 on cluster cm-2.b\n", ("8", "cm-2.b")),
        ("Your last job 7 used 12 h\nSubmitted batch job 8\n", ("8", "")),
        ("job 7 of you waits\n7 of 9 nodes are down\n  8;cm2 \r\nyour quota is 9 TB\n", ("8", "cm2")),
    ],
)
def test_the_id_in_what_sbatch_and_sites_say(answer, expected):
    assert sbatch._answered(answer, load_settings()) == expected


def test_variables_of_sbatch_lie_below_everything_else(tmp_path: Path, monkeypatch):
    profile = tmp_path / "site.yaml"
    profile.write_text("partition: gpu\nmem: 8G\nextra: {clusters: a, reservation: r}\n")
    for name in ("ACCOUNT", "PARTITION", "QOS", "MEM_PER_CPU", "CLUSTERS", "RESERVATION", "WCKEY", "GPUS"):
        monkeypatch.setenv(f"SBATCH_{name}", "1")
    monkeypatch.setenv("SBATCH_CONSTRAINT", " ")
    monkeypatch.setenv("SBATCH_EXCLUSIVE", "user")
    monkeypatch.setenv("SBATCH_REQ_SWITCH", "2")
    monkeypatch.setenv("SBATCH_WAIT4SWITCH", "10")
    section = SlurmSection(profile=str(profile), qos="normal", account=None)
    options = {"gpus_per_node": "4"}
    settings = load_settings(None, options, section)
    assert (settings.account, settings.partition, settings.qos, settings.mem) == ("1", "gpu", "normal", "8G")
    assert (settings.constraint, settings.reservation, settings.exclusive) == (None, None, False)
    extra = {"wckey": "1", "exclusive": "user", "switches": "2@10", "clusters": "a", "reservation": "r"}
    assert settings.extra == extra
    assert sources_of_settings(None, options, section) == {
        "account": "SBATCH_ACCOUNT",
        "extra.wckey": "SBATCH_WCKEY",
        "extra.exclusive": "SBATCH_EXCLUSIVE",
        "extra.switches": "SBATCH_REQ_SWITCH and SBATCH_WAIT4SWITCH",
        "partition": str(profile),
        "mem": str(profile),
        "extra.clusters": str(profile),
        "extra.reservation": str(profile),
        "qos": "configuration",
        "gpus_per_node": "command line",
    }
    assert unused_variables({"SBATCH_ARRAY_INX": "1", "SBATCH_WCKEY": "1", "SBATCH_OVERCOMMIT": "0", "PATH": ""}) == [
        *("SBATCH_ARRAY_INX", "SBATCH_OVERCOMMIT"),
    ]


def test_it_is_known_where_a_setting_comes_from(tmp_path: Path):
    profile = tmp_path / "site.yaml"
    profile.write_text("partition: gpu\nqos: high\nsetup: [module load a]\nextra: {licenses: x}\n")
    section = SlurmSection(profile=str(profile), qos="normal", setup=["module load b"])
    assert sources_of_settings(None, {"account": None, "extra": {"comment": "y"}, "nodes": 3}, section) == {
        "partition": str(profile),
        "qos": "configuration",
        "setup": f"{profile}, configuration",
        "extra.licenses": str(profile),
        "extra.comment": "command line",
        "nodes": "command line",
    }


def test_a_submission_is_prepared_where_there_is_no_slurm(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "campaign.yaml"
    config.write_text("output: run\nhosts: {examples: mno2}\nguests: [{Li: 1}]\nresources: {shard_tasks: 1}\n")
    options = ["--profile", "generic", "-p", "gpu", "--allocations", "2", "--collect-after"]
    result = CliRunner().invoke(cli, ["submit", str(config), "--dry-run", *options])
    assert result.exit_code == 0, result.output
    first, second, *rest = result.output.splitlines()
    assert first.startswith("# SLURM was not asked (no 'sinfo' in PATH") and "sbatch was not called" in second
    assert f"# cpus_per_task: 4 (from {PACKAGED / 'generic.yaml'})" in rest
    assert "# partition: gpu (from command line)" in rest
    assert rest.count("#SBATCH --partition=gpu") == 2 and "#SBATCH --array=0-1%2" in rest
    assert [path.name for path in tmp_path.iterdir()] == ["campaign.yaml"]
    refused = CliRunner().invoke(cli, ["submit", str(config), *options])
    assert refused.exit_code == 2 and "no 'sbatch' in PATH" in refused.output


@pytest.mark.parametrize("name", ["allocation", "collect"])
def test_jobs_that_were_queued_before_the_modules_moved(name):
    queued = DelayedSubmission.load(DATA / f"queued_{name}.pkl")
    if name == "allocation":
        assert isinstance(queued.function, Allocation)
        assert (queued.function.run_path, queued.function.version, queued.function.actors) == ("runs/half", "0.1.0", 1)
    else:
        assert queued.function == CollectJob("runs/full")
    assert callable(queued.function) and isinstance(queued.function.checkpoint(), DelayedSubmission)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitions: gpu", "partition"),
        ("nodes: 0", "nodes"),
        ("extra: {output: /tmp/x}", "'output' cannot be set"),
        ("extra: {'a b': 1}", "not an sbatch option"),
        ('partition: "a b"', "one word"),
        ("[]", "profile of a site"),
    ],
)
def test_bad_profiles_are_refused_in_one_line(tmp_path: Path, text, said):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        load_settings(str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_workers_of_a_node():
    cpu = JobContext(job="1", restarts=0, rank=0, nodes=1, cpus=8, gpus=0, node="n1")
    gpu = JobContext(job="1", restarts=0, rank=0, nodes=1, cpus=8, gpus=2, node="n1")
    assert workers_per_node(cpu, "cpu", None, None) == (8, 1)
    assert workers_per_node(cpu, "cpu", None, 4) == (2, 4)
    assert workers_per_node(cpu, "cpu", 2, None) == (2, 4)
    assert workers_per_node(gpu, "cuda", None, None) == (2, 4)
    assert workers_per_node(gpu, "cuda", 4, None) == (4, 2)
    with pytest.raises(InputError, match="no GPUs"):
        workers_per_node(cpu, "cuda", None, None)


def test_lives_of_a_job_do_not_see_each_others_head(tmp_path: Path):
    first, second = (Rendezvous(tmp_path, "7", restarts) for restarts in (0, 1))
    first.open()
    first.publish_head("10.0.0.1:1")
    first.end("time is up", 3)
    assert second.head() is None and second.ended() is None
    assert [record["units"] for record in second.former(2)] == [3]
    head = first.head()
    first.publish_head("10.0.0.1:1")  # the same address after a restart is another head
    assert first.head() != head
    assert (tmp_path / "slurm" / "7").stat().st_mode & 0o077 == 0


def test_the_section_of_a_campaign_lies_between_profile_and_options(tmp_path: Path, monkeypatch):
    profile = tmp_path / "site.yaml"
    profile.write_text("partition: gpu\nqos: high\nnodes: 4\nsetup: [module load a]\n")
    path = tmp_path / "c.yaml"
    path.write_text(
        f"output: {tmp_path / 'run'}\nhosts: {{examples: mno2, limit: 1}}\nguests: Li\n"
        f"slurm: {{profile: {profile}, qos: low, allocations: 3, time: '1:30:00', setup: [module load b]}}\n"
    )
    config = load_config(path)
    settings = load_settings(None, {"partition": "cpu", "setup": ["module load c"]}, config.slurm)
    assert (settings.partition, settings.qos, settings.nodes, settings.allocations) == ("cpu", "low", 4, 3)
    assert settings.time == 90 and settings.setup == ["module load a", "module load b", "module load c"]
    # The run directory keeps what was said and no defaults, which would hide the profile's.
    frozen = create_run(config).config
    assert frozen.slurm.model_dump(exclude_unset=True) == config.slurm.model_dump(exclude_unset=True)
    assert load_settings(None, {}, frozen.slurm).nodes == 4


def test_the_section_changes_no_task(tmp_path: Path):
    text = "hosts: {{examples: mno2, limit: 1}}\nguests: Li\noutput: {}\n"
    plain, other = tmp_path / "plain.yaml", tmp_path / "other.yaml"
    plain.write_text(text.format(tmp_path / "a"))
    other.write_text(text.format(tmp_path / "b") + "slurm: {nodes: 7}\n")
    assert create_run(load_config(plain)).id == create_run(load_config(other)).id


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{partitions: gpu}", "did you mean 'partition'"),
        ("{allocations: 0}", "slurm.allocations"),
        ("{extra: {array: 1-5}}", "'array' cannot be set"),
        ("{time: soon}", "time limit"),
    ],
)
def test_bad_sections_are_refused_in_one_line(tmp_path: Path, section, said):
    path = tmp_path / "c.yaml"
    path.write_text(f"output: run\nhosts: {{examples: mno2}}\nguests: Li\nslurm: {section}\n")
    with pytest.raises(InputError, match=said) as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_arrays_are_as_equal_as_can_be():
    assert submit._arrays(1, 1000) == (1,)
    assert submit._arrays(1000, 1000) == (1000,)
    assert submit._arrays(2500, 1000) == (834, 833, 833)
