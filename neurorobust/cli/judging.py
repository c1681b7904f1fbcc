"""``evaluate`` and ``attack``: measurements of one network."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group

from .._util.console import err
from ..attacks import OBJECTIVES, PGA, QUICK, Ball, RandomSearch, quick, restarted, thorough
from ..attacks import Suite as AttackSuite
from ..chip import DeadNeurons
from ..chip import mismatch as mismatch_model
from ..chip.installed import chip_model
from ..core.noise import Membrane
from ..core.params import ABSOLUTE, KINDS
from ..core.placement import HOST
from ..data import Task
from ..demo import fleet_json
from ..evaluation import (
    STRONG,
    Trim,
    estimate_evaluate,
    estimate_worst_case,
    random_search,
    strong_worst_case,
)
from ..evaluation import evaluate as run_evaluate
from ..evaluation.cost import strong_members
from ..evaluation.floors import leaky_suite
from ..evaluation.worst_case import search_worst_case
from ..io.models import read_info
from ..nn.network import placement_of
from ..viz import fleets
from .shared import (
    Folder,
    Json,
    OwnModel,
    OwnTask,
    Workers,
    load_model,
    pairs,
    say_cost,
    say_one_class,
    show,
    worker_pool,
)

order = 2
app = typer.Typer()
Suite = StrEnum("Suite", {"quick": "quick", "thorough": "thorough", "strong": STRONG})


@app.command()
def evaluate(
    folder: Folder,
    chip: Annotated[str | None, typer.Option(help="Program the network onto dies of this chip.")] = None,
    mismatch: Annotated[
        float | None, typer.Option(help="Instead: δ = LEVEL·N(0,1) on all neurons and synapses, unquantized.", min=0)
    ] = None,
    dies: Annotated[int, typer.Option(help="Number of dies.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the dies.", min=0)] = 1,
    spec: Annotated[float, typer.Option(help="Lowest balanced accuracy of a good die.", min=0, max=1)] = 0.9,
    after: Annotated[str | None, typer.Option(help="Time since programming, such as '30 days'.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a weight, instead of the chip's.", min=2, max=16)] = None,
    dead: Annotated[float, typer.Option(help="Fraction of neurons that never spike.", min=0, max=1)] = 0.0,
    noise: Annotated[float, typer.Option(help="Noise (σ) on every membrane, in thresholds.", min=0)] = 0.0,
    exact_host: Annotated[
        bool | None,
        typer.Option(
            "--exact-host/--deviating-host",
            help="Whether a read-out on the host is exact; by default on a chip, and not with --mismatch.",
            show_default=False,
        ),
    ] = None,
    task_name: OwnTask = None,
    model_file: OwnModel = None,
    trim: Annotated[
        int | None, typer.Option(help="Trim the read-out of every die on N samples of the validation part.", min=1)
    ] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Trim with the labels of these samples.")] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep every die in FOLDER/fleets, for `neurorobust explore`; the kinds of the worst dies are measured "
            "one by one, too.",
        ),
    ] = False,
    n_workers: Workers = 1,
    apart: Annotated[int, typer.Option(help="With --keep: the kinds of so many of the worst dies.", min=0)] = 5,
    as_json: Json = False,
) -> None:
    """Put a network on a fleet of simulated dies; balanced accuracy on the test part.

    [bold]Examples[/bold]

      neurorobust evaluate runs/mine --chip dynapse2 --dies 100 --seed 1

      neurorobust evaluate runs/mine --mismatch 0.3 --json

      neurorobust evaluate runs/mine --chip pcm --after "1 year" --noise 0.1

      neurorobust evaluate runs/mine --chip dynapse2 --trim 50

      neurorobust evaluate runs/my --mismatch 0.3 --model my.py:net

      neurorobust evaluate runs/mine --chip dynapse2 --keep

      neurorobust evaluate runs/mine --chip dynapse2 --dies 1000 --workers 4
    """
    if (chip is None) == (mismatch is None):
        raise ValueError(
            "evaluate: got "
            + ("neither" if chip is None else "both")
            + "; give either --chip NAME or --mismatch LEVEL."
        )
    if labelled and trim is None:
        raise ValueError("labelled: needs --trim N, the number of samples for each die.")
    network, task = load_model(folder, task_name, model_file)
    model = chip_model(chip) if chip is not None else mismatch_model(mismatch or 0.0)
    model = model if bits is None else model.with_bits(bits)
    model = model if after is None else model.at(after)
    model = model.with_defects(DeadNeurons(dead)) if dead else model
    model = model.with_noise(Membrane(noise)) if noise else model
    model = model if exact_host is None else model.with_host(exact=exact_host)
    part = task.validation if labelled else task.validation.x
    chosen = None if trim is None else Trim(part, trim)
    say_cost(estimate_evaluate(network, task.test, model, n_dies=dies))
    with worker_pool(n_workers) as pool:
        result = run_evaluate(network, task.test, model, n_dies=dies, seed=seed, trim=chosen, executor=pool)
    if keep:
        info = {**read_info(folder)[0], "task": task.name}
        found = fleets.records(network, task.test, model, result, info, taken_apart=apart)
        for path in fleets.keep(found, folder):
            err.print(f"{path}: written; see `neurorobust explore`.", markup=False)
    payload = fleet_json(result, spec)
    title = f"{folder} on {dies} dies ({model.label}, seed {seed}): balanced accuracy, {len(task.test)} test samples"
    if any((core == HOST).any() for core in placement_of(network).cores.values()):
        title += f"; read-out on the host, {'exact' if model.exact_host else 'deviates like the rest'}"
    whole = {key: payload[key] for key in ("nominal", "programmed") if payload[key] is not None}
    whole["equations"] = str(result.equations).removeprefix("equations: ")
    tables = [pairs(title, whole | _scores(payload, spec, task))]
    if trimmed := payload["trimmed"]:
        gain = {"gain over the same dies as they stand": trimmed["gain"]}
        tables.append(pairs(f"trimmed on {trimmed['on']}, of the validation part", gain | _scores(trimmed, spec, task)))
    show(payload, as_json, lambda: Group(*tables))
    say_one_class(result.one_class, task)


def _scores(found: dict, spec: float, task: Task) -> dict[str, Any]:
    """Rows about the scores of all dies."""
    low, high = found["yield"]["ci95"]
    shown = {key: found[key] for key in ("mean", "std", "min", "q05") if found[key] is not None}
    shown["95 % interval of the mean"] = " to ".join("–" if end is None else f"{end:.4f}" for end in found["ci95"])
    shown[f"yield at {spec:g}"] = f"{found['yield']['fraction']:.2f} (95 % interval {low:.2f} to {high:.2f})"
    return shown | {f"mean recall, {label}": value for label, value in zip(task.classes, found["recall"])}


@app.command()
def attack(
    folder: Folder,
    zeta: Annotated[
        float, typer.Option(help="Largest relative deviation of every attacked kind; 0.1 is 10 %.", min=0, max=3)
    ] = 0.1,
    kinds: Annotated[
        str, typer.Option(help=f"`all`, or some of {', '.join(sorted(KINDS))}, separated by commas.")
    ] = "all",
    suite: Annotated[
        Suite,
        typer.Option(
            help=f"quick: {QUICK}, ten steps on three objectives; thorough: 350 passes; {STRONG}: to publish."
        ),
    ] = Suite.quick,
    steps: Annotated[int | None, typer.Option(help="Steps; 10 (quick), 30 (thorough) by default.", min=1)] = None,
    restarts: Annotated[
        int | None, typer.Option(help="Searches from different starts; 1 (quick), 3 (thorough) by default.", min=1)
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help=f"One objective for `quick`: {', '.join(OBJECTIVES)}; kl, ce and margin by default.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.", min=0)] = 1,
    samples: Annotated[
        int | None, typer.Option(help="Use only N test samples, equally many per class where possible.", min=1)
    ] = None,
    host: Annotated[bool, typer.Option("--host", help="Attack a read-out on the host too.")] = False,
    task_name: OwnTask = None,
    model_file: OwnModel = None,
    n_workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Search for the worst die within ζ, on unquantized nominal parameters; balanced accuracy on the test part.

    [bold]Examples[/bold]

      neurorobust attack runs/mine --zeta 0.1 --suite strong-1

      neurorobust attack runs/mine --zeta 0.2 --kinds tau_mem,v_threshold --json

      neurorobust attack runs/mine --zeta 0.05 --suite strong-1 --workers 4
    """
    network, task = load_model(folder, task_name, model_file)
    data = task.test if samples is None else task.test.balanced(samples)
    chosen = sorted(KINDS - ABSOLUTE) if kinds == "all" else kinds.split(",")
    whole = Ball(**{kind: zeta for kind in chosen})
    ball = whole if host else whole.on_chip(network)
    if suite is not Suite.quick and loss is not None:
        raise ValueError(f"loss: got {loss!r}; {suite} has its own objectives. Leave --loss out, or use --suite quick.")
    if suite is Suite.strong and (steps, restarts) != (None, None):
        raise ValueError(
            f"steps, restarts: {suite} has fixed settings. Leave --steps and --restarts out, or use --suite thorough."
        )
    if suite is Suite.strong:
        searched = strong_members(network, data)
    elif suite is Suite.thorough:
        searched = thorough(steps or 30, restarts or 3)
    else:
        searched = restarted(quick_suite(steps, loss), restarts or 1)
    control = RandomSearch(searched.passes + leaky_suite(network, searched).passes - 1)
    say_cost(estimate_worst_case(network, data, ball, AttackSuite((*searched.members, (control, 1)))))
    with err.status(f"{suite} attack on {len(data)} test samples …"), worker_pool(n_workers) as pool:
        if suite is Suite.strong:
            worst = strong_worst_case(network, data, ball, seed=seed, executor=pool)
        else:
            worst = search_worst_case(network, data, ball, searched, seed=seed, executor=pool)
        random = random_search(network, data, ball, passes=worst.passes, seed=seed, executor=pool)
    payload = {
        "zeta": zeta,
        "kinds": chosen,
        "host": host,
        "suite": str(suite),
        "version": worst.suite,
        "nominal": worst.nominal,
        "balanced_accuracy": worst.balanced_accuracy,
        "accuracy": worst.accuracy,
        "recall": list(worst.recall),
        "random_search_balanced_accuracy": random.balanced_accuracy,
        "passes": worst.passes,
        "found_by": worst.attack,
        "caution": worst.caution,
        "samples": len(data),
        "seed": seed,
    }
    if worst.at_floor is not None:
        payload["at_floor"] = worst.at_floor
    shown: dict[str, Any] = {"nominal balanced accuracy": worst.nominal}
    shown["balanced accuracy on the worst die"] = worst.balanced_accuracy
    shown["accuracy on it"] = worst.accuracy
    shown |= {f"recall, {label}": value for label, value in zip(task.classes, worst.recall)}
    shown["random search, as many passes"] = random.balanced_accuracy
    shown["forward passes"] = worst.passes
    shown["found by"] = worst.attack
    if worst.at_floor is not None:
        shown["neuron-steps at the floor"] = worst.at_floor
    title = f"{folder}: worst die within ζ = {zeta:g} ({kinds}), {suite}, {len(data)} test samples"
    show(payload, as_json, lambda: pairs(title, shown))
    if worst.inconclusive:
        err.print(f"Caution: {worst.caution} (--suite {STRONG}).", markup=False)


def quick_suite(steps: int | None, loss: str | None) -> AttackSuite:
    """The quick suite; another one, of no version, with other steps or one objective."""
    if (steps, loss) == (None, None):
        return quick()
    objectives = [member.objective for member, _ in quick().members] if loss is None else [loss]
    return AttackSuite(tuple((PGA(steps=steps or 10, objective=objective), 1) for objective in objectives))
