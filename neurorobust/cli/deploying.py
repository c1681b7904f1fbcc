"""``deploy``: map a network onto a chip; check, show and compare deployment files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table
from typer.core import TyperGroup

from .._util.console import out
from ..chip import Violation
from ..chip.installed import chip_model, chip_models
from ..deploy import Deployment, DeploymentError, diff, estimate, load_image, onto
from .shared import (
    TASK,
    Folder,
    Json,
    OwnChip,
    OwnModel,
    OwnTask,
    as_layers,
    folded,
    load_deployment,
    load_model,
    load_network,
    show,
    task_of,
    write_json,
)

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
    task_name: OwnTask = None,
    model_file: OwnModel = None,
    as_json: Json = False,
) -> None:
    """Map a network onto a chip, check every limit, quantize, and write one file. No board is attached.

    The word [bold]onto[/bold] may be left out. A network that does not fit is refused with every limit that it breaks.

    [bold]Examples[/bold]

      neurorobust deploy onto runs/mine --chip dynapse2 --out net.json

      neurorobust deploy onto runs/mine --chip pcm --out net.json --score --json
    """
    model = chip_model(chip)
    if chip.endswith(".py") and chip_models().get(model.name, model) != model:
        raise ValueError(
            f"chip: {chip} describes a chip named {model.name!r}, as an installed model with other numbers is named; a "
            f"deployment file holds the name alone. Give it another name."
        )
    if score:
        network, task = load_model(folder, task_name, model_file)
        data = task.test
    else:
        network, data = load_network(folder, model_file, None if task_name is None else task_of(task_name)), None
    try:
        deployment = onto(as_layers(network), model, data, tolerance=tolerance)
    except DeploymentError as error:
        if as_json:
            broken = [vars(violation) for violation in error.violations]
            write_json({"deployed": False, "violations": broken})
        raise
    path = deployment.save(out_file)
    _say({"deployed": True, "file": str(path), "report": deployment.report.entry()}, deployment, as_json)


@app.command("check")
def deploy_check(file: File, chip: OwnChip = None, as_json: Json = False) -> None:
    """Check a deployment file against its chip model: digest, addresses, codes, routes, limits.

    [bold]Examples[/bold]

      neurorobust deploy check net.json

      neurorobust deploy check net.json --chip mine.py
    """
    deployment = load_deployment(file, chip)
    if as_json:
        write_json({"file": str(file), "chip": deployment.chip.name, "violations": []})
    else:
        out.print(f"{file}: whole, and {deployment.chip.name} can hold it.", markup=False, highlight=False)


@app.command("show")
def deploy_show(file: File, chip: OwnChip = None, as_json: Json = False) -> None:
    """The report of a deployment file: what it uses, and every value that was changed.

    [bold]Example[/bold]

      neurorobust deploy show net.json --json
    """
    deployment = load_deployment(file, chip)
    _say(deployment.report.entry(), deployment, as_json)


@app.command("estimate")
def deploy_estimate(
    file: File,
    task: Annotated[str, typer.Option(help=f"Whose test part is run. {TASK}", show_default=False)],
    samples: Annotated[int, typer.Option(help="At most so many samples.", min=1)] = 200,
    chip: OwnChip = None,
    as_json: Json = False,
) -> None:
    """Events of a deployment, counted on an ideal die, and published figures of energy and time for them.

    [bold]Example[/bold]

      neurorobust deploy estimate net.json --task ecg
    """
    found = estimate(load_deployment(file, chip), task_of(task).test.first(samples))
    if as_json:
        write_json(found.entry())
    else:
        out.print(str(found), markup=False, highlight=False, soft_wrap=True)


@app.command("diff")
def deploy_diff(first: File, second: File, chip: OwnChip = None, as_json: Json = False) -> None:
    """Where two deployment files differ.

    [bold]Example[/bold]

      neurorobust deploy diff old.json new.json
    """
    found = diff(load_deployment(first, chip), load_deployment(second, chip))

    def table() -> Table:
        shown = folded("where", str(first), str(second))
        for difference in found:
            shown.add_row(*difference)
        return shown

    if not found and not as_json:
        out.print(f"{first} and {second}: no difference.", markup=False, highlight=False, soft_wrap=True)
        return
    show({"differences": [difference._asdict() for difference in found]}, as_json, table)


@app.command("image")
def deploy_image(
    file: File,
    out_file: Annotated[Path | None, typer.Option("--out", help="The image file to write.", show_default=False)] = None,
    check: Annotated[Path | None, typer.Option(help="An image file to compare with it.", show_default=False)] = None,
    ratio: Annotated[float, typer.Option(help="Threshold current over gain current; chooses the biases.")] = 100,
    chip: OwnChip = None,
    as_json: Json = False,
) -> None:
    """The image of a deployment: what a board of DYNAP-SE2 or DYNAP-SE1 is given, in integers and bias currents.

    With [bold]--check[/bold] an image file is compared instead: addresses, places, and every synapse, rebuilt from the
    image alone.

    [bold]Examples[/bold]

      neurorobust deploy image net.json --out image.json

      neurorobust deploy image net.json --check image.json --json
    """
    if (out_file is None) == (check is None):
        raise ValueError("deploy image: expected --out FILE to write an image, or --check FILE to compare one.")
    deployment = load_deployment(file, chip)
    if check is None:
        try:
            image = deployment.image(ratio=ratio)
        except DeploymentError as error:
            _refuse_image(error.violations, str(error), as_json)
    else:
        image = load_image(check)
        if broken := image.check(deployment):
            told = "".join(f"\n  {violation}" for violation in broken)
            _refuse_image(broken, f"{check}: is not the image of {file}:{told}", as_json)
    path = check or image.save(out_file or Path())
    if as_json:
        counts = {"neurons": len(image.neurons), "synapses": len(image.synapses), "inputs": len(image.inputs)}
        biases = {str(core): dict(currents) for core, currents in image.cores.items()}
        filters = {
            str(core): {name: {**each._asdict(), "linear": each.linear} for name, each in found.items()}
            for core, found in image.linearity().items()
        }
        rest = {"device": image.device, **counts, "monitored": len(image.monitors), "biases": biases}
        rest["filters"] = filters
        write_json({"image": True, "file": str(path), "violations": [], **rest})
        return
    out.print(
        f"{path}: {len(image.neurons)} neurons, {len(image.synapses)} synapses, {len(image.inputs)} inputs and "
        f"{len(image.monitors)} monitored neurons of {image.device}; every synapse comes back from it, and every bias "
        f"is in reach of the bias generator (coded ranges).",
        markup=False,
        highlight=False,
    )
    worst = min((each for found in image.linearity().values() for each in found.values()), default=None)
    if worst is not None:
        out.print(f"synaptic filters of a chip: {worst}", markup=False, highlight=False)


def _refuse_image(violations: Sequence[Violation], told: str, as_json: bool) -> NoReturn:
    if as_json:
        write_json({"image": False, "violations": [vars(violation) for violation in violations]})
    raise ValueError(told)


def _say(payload: dict[str, Any], deployment: Deployment, as_json: bool) -> None:
    if as_json:
        write_json(payload)
    else:
        out.print(str(deployment.report), markup=False, highlight=False, soft_wrap=True)
