"""The command `inpaint-hpc`: finds the verb and reports every expected failure in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from inpaint_hpc._version import __version__
from inpaint_hpc.environment import settle_process
from inpaint_hpc.errors import InpaintHpcError

# Verb: (module with a click command of that name, one line of help).  Modules are imported when their verb is used.
VERBS = {
    "inpaint": ("inpaint_hpc.cli.inpaint", "Place guest ions in host crystals."),
    "generate": ("inpaint_hpc.cli.generate", "Generate whole structures from a composition and a cell."),
    "sites": ("inpaint_hpc.cli.sites", "Find the sites for an ion in host crystals."),
    "demo": ("inpaint_hpc.cli.demo", "Place Li and Mg in seven MnO2 polymorphs, in a few minutes."),
    "init": ("inpaint_hpc.cli.init", "Write a commented campaign configuration."),
    "plan": ("inpaint_hpc.cli.plan", "Estimate what a campaign will cost before running it."),
    "run": ("inpaint_hpc.cli.run", "Run a campaign (hosts x guests from a YAML file) on this machine."),
    "resume": ("inpaint_hpc.cli.resume", "Continue a campaign, whatever stopped it."),
    "status": ("inpaint_hpc.cli.status", "Show the progress of a campaign, from any shell."),
    "submit": ("inpaint_hpc.cli.submit", "Submit a campaign to SLURM, or continue one there."),
    "cancel": ("inpaint_hpc.cli.cancel", "Cancel the SLURM jobs of a campaign."),
    "logs": ("inpaint_hpc.cli.logs", "Show the output of a campaign's SLURM job."),
    "collect": ("inpaint_hpc.cli.collect", "Merge the results of a campaign into one HDF5 archive."),
    "verify": ("inpaint_hpc.cli.verify", "Check result files and archives: checksums, counts, ranges."),
    "benchmark": (
        "inpaint_hpc.cli.benchmark",
        "Take ions out of crystals, place them again, and score that.",
    ),
    "score": ("inpaint_hpc.cli.score", "Score a campaign that took ions out and placed them again."),
    "export": ("inpaint_hpc.cli.export", "Write structures or a table of candidates from an archive."),
    "show": ("inpaint_hpc.cli.show", "Show what an archive holds, and its best candidates."),
    "query": ("inpaint_hpc.cli.query", "List the candidates of an archive that fit an expression."),
    "report": ("inpaint_hpc.cli.report", "Write one HTML file that shows results in a browser."),
    "voltage": ("inpaint_hpc.cli.voltage", "Compute intercalation energies, convex hulls and voltage curves."),
    "series": ("inpaint_hpc.cli.series", "Fill a host with 0, 1, 2 ... guests; hull and voltage curve."),
    "train": ("inpaint_hpc.cli.train", "Train a score network on a packed file."),
    "pack": ("inpaint_hpc.cli.pack", "Pack crystals of any format into one HDF5 file."),
    "pairs": ("inpaint_hpc.cli.pairs", "Make electrode pairs for training from filled crystals."),
    "weights": ("inpaint_hpc.cli.weights", "List, describe and verify network weights."),
    "doctor": ("inpaint_hpc.cli.doctor", "Show versions, devices, weights and anything missing."),
}

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class VerbGroup(click.Group):
    """A click group that imports a verb's module only when it is used, and reports errors in one line.

    Errors are handled here rather than around the entry point, so that click's test runner sees what users see.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the help text."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb, whose module is imported for it."""
        if name not in VERBS:
            return None
        return getattr(import_module(VERBS[name][0]), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: object,
    ) -> Any:
        """Run a verb; an expected failure becomes one line and an exit code, unless `standalone_mode` is off."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        arguments = list(sys.argv[1:] if args is None else args)
        end = arguments.index("--") if "--" in arguments else len(arguments)
        debug = "--debug" in arguments[:end] or os.environ.get("INPAINT_HPC_DEBUG", "") not in ("", "0")
        # People add --debug to the end of the line that failed, so it may stand anywhere.
        arguments = [a for i, a in enumerate(arguments) if a != "--debug" or i >= end]
        try:
            result = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(EXIT_ERROR)
        except (KeyboardInterrupt, click.Abort):
            if debug:
                raise
            _fail("interrupted", EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output (head, less) is gone; Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (InpaintHpcError, click.ClickException, OSError, MemoryError) as error:
            if debug:
                raise
            _fail(_message(error), EXIT_ERROR)
        sys.exit(result if isinstance(result, int) else 0)


def _message(error: BaseException) -> str:
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "inpaint-hpc"
        return f"{error.format_message()} See '{command} --help'."
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename2 or error.filename}: " if error.filename else ""
        return place + error.strerror
    if isinstance(error, MemoryError):
        return f"out of memory ({error})" if str(error) else "out of memory"
    return str(error) or type(error).__name__


def _fail(message: str, code: int) -> NoReturn:
    click.echo("Error: " + " ".join(message.split()), err=True)
    sys.exit(code)


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="inpaint-hpc")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error; may stand anywhere in the command line.",
)
def cli() -> None:
    """Find the sites of guest ions in crystals with an equivariant score model."""


def main() -> None:
    """Entry point of `inpaint-hpc`: exit status 0, 2 after an error in one line, 130 after Ctrl-C."""
    settle_process()
    cli(prog_name="inpaint-hpc")


if __name__ == "__main__":
    main()
