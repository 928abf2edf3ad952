"""Which archive a path means."""

import pytest

from inpaint_hpc.campaign.archive_of import archive_of
from inpaint_hpc.errors import InputError


@pytest.mark.parametrize("inside", ["", "run"])
def test_a_run_or_the_run_in_a_folder_means_its_archive(tmp_path, inside):
    run = tmp_path / inside
    run.mkdir(exist_ok=True)
    (run / "campaign.json").touch()
    with pytest.raises(InputError, match="has no archive yet; `inpaint-hpc status"):
        archive_of(tmp_path)
    (run / "archive.h5").touch()
    assert archive_of(tmp_path) == archive_of(run) == archive_of(run / "archive.h5") == run / "archive.h5"


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match="without an archive or a run"):
        archive_of(tmp_path)
    (tmp_path / "archive.h5").touch()
    assert archive_of(tmp_path) == tmp_path / "archive.h5"
