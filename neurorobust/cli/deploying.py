"""``deploy``: map a network onto a chip; check, show and compare deployment files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from .._util.console import out
from ..chip.installed import chip_model
from ..data.installed import find_task
from ..deploy import Deployment, DeploymentError, diff, estimate, load, onto
from ..deploy.reading import read_entry
from ..io import models
from .shared import Folder, Json, load_model, show, write_json

order = 5


class _Group(TyperGroup):
    """``deploy DIR`` is ``deploy onto DIR``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["onto", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(name="deploy", cls=_Group, help="Deployments: a network as one chip gets it.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="A file that `deploy` wrote.", show_default=False)]


@app.command("onto")
def deploy_onto(
    folder: Folder,
    chip: Annotated[str, typer.Option(help="See `neurorobust chips list`.", show_default=False)],
    out_file: Annotated[Path, typer.Option("--out", help="The deployment file to write.", show_default=False)],
    tolerance: Annotated[float, typer.Option(help="Largest relative change of a setting to share a core.", min=0)] = 0,
    score: Annotated[bool, typer.Option("--score", help="Measure on the test part, before and after.")] = False,
    as_json: Json = False,
) -> None:
    """Map a network onto a chip, check every limit, quantize, and write one file. No board is attached.

    The word [bold]onto[/bold] may be left out. A network that does not fit is refused with every limit that it breaks.

    [bold]Examples[/bold]

      neurorobust deploy onto runs/mine --chip dynapse2 --out net.json

      neurorobust deploy onto runs/mine --chip pcm --out net.json --score --json
    """
    model = chip_model(chip)
    if score:
        network, task = load_model(folder)
        data = task.test
    else:
        network, data = models.load(folder)[0], None
    try:
        deployment = onto(network, model, data, tolerance=tolerance)
    except DeploymentError as error:
        if as_json:
            broken = [vars(violation) for violation in error.violations]
            write_json({"deployed": False, "violations": broken})
        raise
    path = deployment.save(out_file)
    _say({"deployed": True, "file": str(path), "report": deployment.report.entry()}, deployment, as_json)


@app.command("check")
def deploy_check(file: File, as_json: Json = False) -> None:
    """Check a deployment file against the installed chip model: digest, addresses, codes, routes, limits.

    [bold]Example[/bold]

      neurorobust deploy check net.json
    """
    deployment = _read(file)
    if as_json:
        write_json({"file": str(file), "chip": deployment.chip.name, "violations": []})
    else:
        out.print(f"{file}: whole, and {deployment.chip.name} can hold it.", markup=False, highlight=False)


@app.command("show")
def deploy_show(file: File, as_json: Json = False) -> None:
    """The report of a deployment file: what it uses, and every value that was changed.

    [bold]Example[/bold]

      neurorobust deploy show net.json --json
    """
    deployment = _read(file)
    _say(deployment.report.entry(), deployment, as_json)


@app.command("estimate")
def deploy_estimate(
    file: File,
    task: Annotated[str, typer.Option(help="Whose test part is run. See `neurorobust tasks`.", show_default=False)],
    samples: Annotated[int, typer.Option(help="At most so many samples.", min=1)] = 200,
    as_json: Json = False,
) -> None:
    """Events of a deployment, counted on an ideal die, and published figures of energy and time for them.

    [bold]Example[/bold]

      neurorobust deploy estimate net.json --task ecg
    """
    found = estimate(_read(file), find_task(task).test.first(samples))
    if as_json:
        write_json(found.entry())
    else:
        out.print(str(found), markup=False, highlight=False, soft_wrap=True)


@app.command("diff")
def deploy_diff(first: File, second: File, as_json: Json = False) -> None:
    """Where two deployment files differ.

    [bold]Example[/bold]

      neurorobust deploy diff old.json new.json
    """
    found = diff(_read(first), _read(second))

    def table() -> Table:
        shown = Table("", str(first), str(second))
        for difference in found:
            shown.add_row(*difference)
        return shown

    show({"differences": [difference._asdict() for difference in found]}, as_json, table)


def _read(file: Path) -> Deployment:
    return load(file, chip_model(read_entry(file)["chip"]["name"]))


def _say(payload: dict[str, Any], deployment: Deployment, as_json: bool) -> None:
    if as_json:
        write_json(payload)
    else:
        out.print(str(deployment.report), markup=False, highlight=False, soft_wrap=True)
