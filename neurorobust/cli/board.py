"""``board``: run a deployment on virtual boards."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from .._util.console import out, progress
from ..data import Data, Task
from ..deploy import CircuitEngine, Deployment, Engine, Events, NetworkEngine, VirtualBoards, VirtualChip, judge, logits
from ..deploy.judging.causes import CAUSES
from ..evaluation.statistics import check_outputs, recall, score
from .shared import (
    TASK,
    Json,
    OwnChip,
    OwnModel,
    Workers,
    as_layers,
    load_deployment,
    load_network,
    task_of,
    worker_pool,
    write_json,
)

order = 6
app = typer.Typer(
    name="board", help="Virtual boards: a die of a chip model that runs a deployment.", no_args_is_help=True
)
ENGINES: dict[str, type[Engine]] = {"network": NetworkEngine, "circuit": CircuitEngine}
Which = StrEnum("Which", {"network": "network", "circuit": "circuit"})
AT_ONCE = 25
"""Samples between two updates of the progress bar."""


@app.callback()
def _board() -> None:
    """Virtual boards. No real board is attached."""


@app.command("run")
def board_run(
    file: Annotated[Path, typer.Argument(help="A file that `deploy` wrote.", show_default=False)],
    task: Annotated[str, typer.Option(help=TASK, show_default=False)],
    serial: Annotated[int, typer.Option(help="Which die.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the dies, as in `evaluate`.", min=0)] = 1,
    engine: Annotated[
        Which, typer.Option(help="Training equations, or the circuit in continuous time.")
    ] = Which.network,
    samples: Annotated[int, typer.Option(help="Test samples, as many of each class as can be.", min=1)] = 100,
    drops: Annotated[float, typer.Option(help="Fraction of events that is lost, each way.", min=0, max=0.999)] = 0.0,
    chip: OwnChip = None,
    as_json: Json = False,
) -> None:
    """Program one virtual board, run test samples of a task on it, and score what it answers.

    It is a simulation of die number SERIAL of the chip model, not a measurement.

    [bold]Examples[/bold]

      neurorobust board run net.json --task ecg --serial 17

      neurorobust board run net.json --task ecg --engine circuit --samples 50 --json
    """
    deployment, found, data = _loaded(file, task, samples, chip)
    board = VirtualChip(deployment.chip, serial, seed=seed, engine=ENGINES[engine.value](), drops=drops)
    outputs, counted = _run(board, deployment, data.x)
    check_outputs(outputs, data.y)
    result: dict[str, Any] = {
        "board": board.name,
        "engine": engine.value,
        "seed": seed,
        "task": found.name,
        "samples": len(data),
        "score": score(outputs, data.y),
        **counted,
    }
    if not data.regression:
        result["recall"] = recall(outputs.argmax(-1), data.y, outputs.shape[-1]).tolist()
    if as_json:
        write_json(result)
        return
    recalls = "".join(f", recall of class {i} {value:.3f}" for i, value in enumerate(result.get("recall", ())))
    out.print(
        f"{board.name} (a simulation, engine {engine.value}): score {result['score']:.3f} on {len(data)} test samples "
        f"of {found.name}{recalls}; {counted['spikes']} spikes, {counted['dropped']} events dropped.",
        markup=False,
        highlight=False,
    )


@app.command("judge")
def board_judge(
    file: Annotated[Path, typer.Argument(help="A file that `deploy` wrote.", show_default=False)],
    task: Annotated[str, typer.Option(help=TASK, show_default=False)],
    serials: Annotated[int, typer.Option(help="How many boards, from number 0.", min=1)] = 200,
    engine: Annotated[
        Which, typer.Option(help="Training equations, or the circuit in continuous time.")
    ] = Which.network,
    samples: Annotated[int, typer.Option(help="Test samples, as many of each class as can be.", min=1)] = 100,
    gap: Annotated[bool, typer.Option("--gap", help="Also where the gap to training comes from.")] = False,
    trained: Annotated[
        Path | None, typer.Option(help="Folder of the trained network, for the first row of the gap.")
    ] = None,
    model_file: OwnModel = None,
    seed: Annotated[int, typer.Option(help="Seed of the dies, as in `evaluate`.", min=0)] = 1,
    spec: Annotated[float, typer.Option(help="Lowest score of a good board.", min=0, max=1)] = 0.9,
    chip: OwnChip = None,
    n_workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Run test samples of a task on many virtual boards: mean, worst board, yield, and where the gap comes from.

    It is a simulation of dies of the chip model, not a measurement.

    [bold]Examples[/bold]

      neurorobust board judge net.json --task ecg --serials 20

      neurorobust board judge net.json --task ecg --serials 20 --samples 50 --gap --trained runs/mine --json

      neurorobust board judge net.json --task ecg --serials 200 --workers 4
    """
    if trained is not None and not gap:
        raise ValueError("trained: is for the first row of the gap; add --gap.")
    deployment, found, data = _loaded(file, task, samples, chip)
    with worker_pool(n_workers) as pool:
        judged = judge(
            deployment,
            data,
            range(serials),
            boards=VirtualBoards(ENGINES[engine.value](), seed),
            trained=None if trained is None else as_layers(load_network(trained, model_file)),
            causes=CAUSES if gap else (),
            executor=pool,
        )
    reached = judged.yield_at(spec)
    if as_json:
        share = {"spec": spec, "fraction": reached.fraction, "ci95": list(reached.ci95)}
        write_json({"task": found.name, **judged.entry(), "yield": share})
        return
    low, high = reached.ci95
    words = f"yield at {spec:g}: {reached.fraction:.2f} (exact 95 % interval {low:.2f} to {high:.2f})"
    out.print(f"{judged}\n{words}", markup=False, highlight=False, soft_wrap=True)


def _loaded(file: Path, task: str, samples: int, chip: str | None) -> tuple[Deployment, Task, Data]:
    """The deployment of a file, a task, and some of its test samples."""
    deployment = load_deployment(file, chip)
    found = task_of(task)
    data = found.test if found.test.regression or samples >= len(found.test) else found.test.balanced(samples)
    if data.x.shape[-1] != deployment.native.n_in:
        raise ValueError(
            f"task: samples of {task} have {data.x.shape[-1]} channels; the deployed network has "
            f"{deployment.native.n_in}."
        )
    return deployment, found, data


def _run(board: VirtualChip, deployment: Deployment, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, int]]:
    """The logits of all samples, and counts of events."""
    dt = deployment.native.dt
    recordings = []
    with board.open() as session, progress(board.name, -(-len(x) // AT_ONCE)) as tick:
        session.program(deployment)
        for some in x.split(AT_ONCE):
            recordings += session.run_many([Events.of_steps(each, dt) for each in some], x.shape[1] * dt)
            tick()
    counted = {
        "input_events": sum(len(each.events.times) for each in recordings),
        "spikes": sum(len(each.times) for each in recordings),
        "dropped": sum(each.dropped_inputs + each.dropped_spikes for each in recordings),
    }
    return logits(deployment, recordings), counted
