"""The notebook of the documentation runs from its first to its last cell."""

from pathlib import Path

import nbformat
from click.testing import CliRunner
from example_hosts import MNO2
from nbclient import NotebookClient

from inpaint_hpc.cli.main import cli

NOTEBOOK = Path(__file__).parents[2] / "docs" / "analysis.ipynb"


def test_the_notebook_runs_and_is_kept_without_outputs(tmp_path, monkeypatch):
    """In a folder with a small archive of the kind, and under the name, that its first cell says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # its history, else in the home folder
    series = ["series", str(MNO2 / "lambda_mp-25275.cif"), "--guest", "Li", "--archive", "series.h5"]
    quick = {"counts": "1,2", "samples": 2, "steps": 4, "evaluations": 1, "top-k": 1, "relax-steps": 2}
    made = CliRunner().invoke(cli, [*series, "--relax=guests", *(f"--{name}={value}" for name, value in quick.items())])
    assert made.exit_code == 0, made.output
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)

    # Raises where a cell fails.
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [{kind for output in cell.outputs for kind in output.get("data", {})} for cell in cells]
    assert sum("text/html" in kinds for kinds in shown) >= 8 and sum("image/png" in kinds for kinds in shown) == 1
    assert all(output.output_type != "stream" for cell in cells for output in cell.outputs)  # no warnings
