"""The command line ``neurorobust``: one command for each thing people do, one module for each group of them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import __version__
from .._util.console import err, out
from . import chips, judging, lists, training

app = typer.Typer(
    help="Train spiking neural networks that work on every analog chip, and measure that they do.\n\n"
    "Start with [bold]neurorobust demo[/bold]: it trains a standard and a robust network on real heart beats and puts "
    "both on the same hundred simulated chips.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (training.demo, training.train, judging.evaluate, judging.attack, lists.info):
    app.command()(command)
app.command("report")(training.report_again)
app.add_typer(chips.app, name="chips")
app.add_typer(lists.tasks_app, name="tasks")
app.add_typer(lists.methods_app, name="methods")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit()


def main() -> None:
    """Exit codes: 0 done · 2 something given is wrong, said in one line · 130 interrupted."""
    try:
        app()
    except SystemExit as exit_:
        if exit_.code == 130:
            err.print("interrupted; finished epochs are kept, run the same command again to go on.")
        raise
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
