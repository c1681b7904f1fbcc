"""The command line ``neurorobust``: one module per group of commands.

A module with a ``typer.Typer`` named ``app`` adds commands: a group if the app has a name, else commands of the first
level. Its ``order`` is the position in the help; modules without one are last, by name.
"""

from __future__ import annotations

import re
import sys
from io import TextIOWrapper
from types import ModuleType
from typing import Annotated

import typer

from .. import __version__
from .._util.console import err, named_output, out, plain_warnings
from .._util.discovery import modules
from ..kernels.runtime.threads import keep_within_limits
from .own_files import place_of, said
from .shared import INTERRUPTED

app = typer.Typer(
    help="Train spiking neural networks that work on every analog die, and measure it.\n\n"
    "Start with [bold]neurorobust demo[/bold]: it trains a standard and a robust network on real heart beats and puts "
    "both on the same hundred simulated dies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _add_all(package: ModuleType) -> None:
    """Add the commands of every module of the command line."""
    parts = [module for module in modules(package) if isinstance(vars(module).get("app"), typer.Typer)]
    homes: dict[str, str] = {}
    for module in sorted(parts, key=lambda module: getattr(module, "order", float("inf"))):
        app.add_typer(module.app)
        group = typer.main.get_group(module.app)
        for name in [group.name] if group.name else group.commands:
            if homes.setdefault(name, module.__name__) != module.__name__:
                raise ValueError(f"command {name!r}: in {homes[name]} and {module.__name__}; rename one.")


_add_all(sys.modules[__name__])


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit()
    keep_within_limits()


TORCH_FULL = "DefaultCPUAllocator"
"""A word in torch's RuntimeError when there is no memory."""
AGAIN = "the same command starts from the beginning."
"""What is true for a command that keeps nothing when it is interrupted."""
REPORTED = ValueError, OSError, ImportError
"""Errors of the user's input or machine, which are reported in one line."""


def main() -> None:
    """Exit codes: 0 done · 2 wrong input, reported in one line · 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal of ASCII shows ? for other letters
            stream.reconfigure(errors="replace")
    try:
        with named_output(), plain_warnings():
            app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            err.print("interrupted;", *getattr(ended, "__notes__", [AGAIN]))
        raise
    except Exception as error:
        place, full = place_of(error), isinstance(error, MemoryError) or TORCH_FULL in str(error)
        if place is None and not full and not isinstance(error, REPORTED):
            raise
        words = str(error) if place is None else f"{place}: {said(error)}"
        if full and place is None:
            asked = re.search(r"allocate ([0-9]+) bytes|[0-9.]+ [KMGTPE]iB", words)
            words = (
                f"not enough memory{f' ({asked[0]})' if asked else ''}; take fewer neurons, samples or dies at once."
            )
        sys.stderr.write(f"error: {words}\n")
        sys.exit(2)
