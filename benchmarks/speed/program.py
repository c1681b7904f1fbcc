"""The command line of ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from neurorobust._util.console import err, out, progress
from neurorobust._util.errors import unknown

from . import machine, measuring, peers, regression, table
from .measuring import Measured
from .workloads import WORKLOADS

RUNS = 7
SITUATIONS = 6  # of --beside
BURST = 1.2  # s of steps of --beside at a time
BOUNDED = ("W2", "W5")  # of --floor
SLOWER = 1.1  # × one thread, more than which fails --beside


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="neurorobust against other libraries: time and memory on the same weights and inputs.",
        epilog="; ".join(f"{name}: {work.about}" for name, work in WORKLOADS.items()),
    )
    add = parser.add_argument
    names = list(WORKLOADS)
    add("--workload", action="append", default=[], choices=names, help="one workload; repeat for more, all if omitted")
    add("--against", action="append", default=[], metavar="PEER", help=f"one peer; repeat for more: {_peers()}")
    add("--runs", type=int, default=RUNS, help=f"clean runs of each tool, default {RUNS}")
    add("--threads", type=int, default=2, help="cores that every tool is bound to and threads it uses, default 2")
    add("--json", action="store_true", help="numbers instead of tables")
    add("--save", action="store_true", help="keep these workloads in benchmarks/results/speed.json")
    views = parser.add_mutually_exclusive_group()
    view = views.add_argument
    view("--check", action="store_true", help="exit with 1 if a ratio is more than a quarter below the saved run's")
    view("--profile", choices=names, help="the time of one of our steps, by operator")
    view("--scaling", action="store_true", help="how our time grows with T, batch and chips")
    view("--choice", action="store_true", help="test the choice between rows of events and a matrix product")
    view("--beside", action="store_true", help="a training step beside other work, against one thread; minutes")
    view("--synapses", action="store_true", help="W6: W5 at 256 to 8192 neurons; --against adds peers up to 4096")
    view("--floor", nargs="?", const="W2", choices=BOUNDED, help="W2 or W5 against this machine's memory and additions")
    view("--tutorials", action="store_true", help="W10: snnTorch's tutorials, our networks of them against themselves")
    view("--simulators", action="store_true", help="W5's neurons forward against Brian 2 and NEST; one thread")
    return parser


def _peers() -> str:
    return ", ".join(
        f"{name} ({peers.ON_REQUEST[name]}: only if named)" if name in peers.ON_REQUEST else name
        for name in peers.names()
    )


def main(words: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = arguments()
    given = parser.parse_args(words)
    for peer in given.against:
        if peer not in peers.names():
            parser.error(str(unknown("--against", peer, peers.names())))
    if min(given.runs, given.threads) < 1:
        parser.error(f"--runs {given.runs} --threads {given.threads}: expected at least 1 of each.")
    threads = 1 if given.simulators else given.threads
    machine.bind(threads)

    import torch

    torch.set_num_threads(threads)
    if given.profile:
        return show_profile(given.profile, given.json)
    if given.scaling:
        return show_scaling(given.json)
    if given.choice:
        return show_choice(given.runs, given.json)
    if given.beside:
        return show_beside(given.runs, given.json)
    if given.floor:
        return show_floor(given.floor, given.runs, given.json)
    if given.synapses:
        return show_synapses(given)
    if given.tutorials:
        return show_tutorials(given.runs, given.json)
    if given.simulators:
        return show_simulators(given)
    return compare(given)


def compare(given: argparse.Namespace) -> int:
    """Measure, print, save, check."""
    try:
        before = regression.saved(regression.RESULTS) if given.check else {}
    except FileNotFoundError as error:
        err.print(error)
        return 2
    works = measuring.selected(given.workload)
    against = given.against or [name for name in peers.names() if name not in peers.ON_REQUEST]
    tools = [peers.OURS, *against]
    import_mb = measuring.import_mb()
    results: dict[str, Measured] = {}
    with progress("starting", len(works) * len(tools) * (given.runs + 2)) as advance:
        for name, work in works.items():

            def advance_named(text: str, name: str = name) -> None:
                advance(f"{name} {text}")

            results[name] = measuring.measure(work, tools, given.runs, given.threads, advance_named)
            if not given.json:
                out.print(table.results(name, results[name], import_mb))
            for line in table.remarks(results[name]):
                err.print(f"{name} {line}", highlight=False, soft_wrap=True)
    summary = reported(results, given.threads, import_mb)
    if given.json:
        print(json.dumps(summary))
    if given.save:
        regression.save(summary, regression.RESULTS)
    if given.check and not regression.shared(before, summary["ratios"]):
        err.print("--check: the saved run has none of these workloads and peers.")
        return 2
    losses = regression.fallen(before, summary["ratios"])
    for line in table.fallen(losses):
        err.print(line, highlight=False, soft_wrap=True)
    return 1 if losses else 0


def reported(results: Mapping[str, Measured], threads: int, import_mb: float) -> dict:
    """The numbers that --json prints and --save keeps."""
    return {
        "times": {name: measured.as_json() for name, measured in results.items()},
        "ratios": {name: measured.ratios() for name, measured in results.items()},
        "machine": {
            **machine.describe(threads),
            "date": datetime.now(UTC).date().isoformat(),
            "torch_import_mb": import_mb,
            "foreign_load": max((measured.foreign for measured in results.values()), default=0.0),
        },
        "checks": {
            name: {
                "same_output": measured.agreement,
                "refused": measured.refused,
                "hidden_rate": measured.hidden_rate,
                "foreign_load": measured.foreign,
            }
            for name, measured in results.items()
        },
    }


def show_profile(name: str, as_json: bool) -> int:
    """The operators of one of our steps."""
    from .profile import operators

    rows = operators(WORKLOADS[name])
    if as_json:
        print(json.dumps([dict(zip(("operator", "ms", "share", "calls"), row)) for row in rows]))
    else:
        title = f"{name}: one step of {peers.OURS}, time inside each operator, the top {len(rows)}"
        shown = ((key, f"{ms:.2f}", f"{share:.1%}", calls) for key, ms, share, calls in rows)
        out.print(table.plain(title, ("operator", "ms", "share", "calls"), shown))
    return 0


def show_scaling(as_json: bool) -> int:
    """Exponents, and the large fleet."""
    from .scaling import CHIPS, FACTORS, growth, large_fleet

    grown, large = growth(), large_fleet()
    if as_json:
        report = {line.what: {"times_ms": line.times_ms, "exponent": line.exponent} for line in grown}
        print(json.dumps({"factors": FACTORS, "growth": report, "large_fleet": {"chips": CHIPS, "ratio": large}}))
        return 0
    headings = ("ms at", *(f"{factor} ×" for factor in FACTORS), "exponent")
    rows = ((line.what, *line.times_ms, f"{line.exponent:.3f}") for line in grown)
    out.print(table.plain(f"time of {peers.OURS} as the workload grows", headings, rows))
    out.print(f"W4 at {CHIPS} chips takes {large:.1f} × as long as at {WORKLOADS['W4'].chips}", highlight=False)
    return 0


def show_choice(runs: int, as_json: bool) -> int:
    """The choice of the engine against both ways, at every rate."""
    from .choice import choices, recurrents

    found, layers = choices(runs), recurrents(runs)
    if as_json:
        report = {
            "input": [{**asdict(c), "excess": c.excess} for c in found],
            "recurrent": [{**asdict(r), "excess": r.excess} for r in layers],
        }
        print(json.dumps(report))
        return 0
    headings = ("n_in × n_out", "rate", "events, ms", "product, ms", "chosen, ms", "× the faster")
    rows = (
        (f"{c.sizes[0]} × {c.sizes[1]}", c.rate, c.events_ms, c.product_ms, c.chosen_ms, f"{c.excess:.2f}")
        for c in found
    )
    out.print(table.plain("x weightᵀ, forward and backward", headings, rows))
    of_layers = ("neurons", "rate", "ours, ms", "with a product per step, ms", "ours / that")
    layer_rows = ((r.n, r.rate, r.ours_ms, r.product_ms, f"{r.excess:.2f}") for r in layers)
    out.print(table.plain("recurrent neurons, forward", of_layers, layer_rows))
    largest = max([*(c.excess for c in found), *(r.excess for r in layers)])
    out.print(f"largest, × the faster: {largest:.2f}", highlight=False)
    return 0


def show_beside(runs: int, as_json: bool) -> int:
    """A training step in every situation; exits with 1 if ours is more than a tenth slower than the base."""
    from .beside import WAYS, measure

    with progress("starting", (SITUATIONS * len(WAYS) - 1) * runs) as advance:
        found = measure(runs, BURST, advance)
    if as_json:
        print(json.dumps([{**asdict(f), "ms": f.ms, "ratio": f.ratios} for f in found]))
    else:
        headings = ("ms per step", *WAYS, "ours / base", "base")
        rows = (
            (f.what, *(f"{f.ms[way]:.1f}" if way in f.ms else "" for way in WAYS), f"{f.ratios['ours']:.2f}", f.base)
            for f in found
        )
        out.print(table.plain("a training step of 256 recurrent neurons beside other work", headings, rows))
    slow = [f.what for f in found if f.ratios["ours"] > SLOWER]
    for what in slow:
        err.print(f"{what}: ours is more than {SLOWER - 1:.0%} slower than the base", highlight=False)
    return 1 if slow else 0


def show_synapses(given: argparse.Namespace) -> int:
    """Time and memory by the number of neurons, and their exponents."""
    from .synapses import SIZES, growth

    with progress("starting", len(SIZES) * (1 + len(given.against)) * (given.runs + 2)) as advance:
        found = growth(given.runs, given.threads, given.against, advance)
    if given.json:
        sizes = [asdict(size) for size in found.sizes]
        print(json.dumps({"sizes": sizes, "exponent of time": found.of_time, "of memory": found.of_memory}))
        return 0
    headings = ("neurons", "synapses", "ms", "MB beyond torch", *(f"{name}, ×" for name in given.against))
    rows = (
        (s.neurons, s.synapses, f"{s.median_ms:.1f}", f"{s.extra_mb:.0f}", *_ratios(s.ratios, given.against))
        for s in found.sizes
    )
    out.print(table.plain("W6: W5 with more neurons, 64 synapses each", headings, rows))
    out.print(f"exponent in neurons: time {found.of_time:.2f}, memory {found.of_memory:.2f}", highlight=False)
    return 0


def show_simulators(given: argparse.Namespace) -> int:
    """Time and spikes of W5's neurons in ours and in simulators."""
    from . import simulators

    with progress("starting", (1 + len(simulators.SIMULATORS) * len(simulators.WAYS)) * (given.runs + 2)) as advance:
        try:
            found = simulators.forward(given.runs, advance)
        except FileNotFoundError as error:
            err.print(error)
            return 2
    if given.save:
        simulators.save(found)
    if given.json:
        print(json.dumps({name: asdict(one) for name, one in found.items()}))
        return 0
    mine = found[peers.OURS]
    headings = ("", "ms", "processor ms", "we are faster by", "spikes", "built in, s")
    rows = (
        (name, one.median_ms, one.processor_ms, f"{one.median_ms / mine.median_ms:.1f} ×", one.spikes, one.built_s)
        for name, one in found.items()
    )
    out.print(table.plain("W5's hidden layer forward, 25 samples, one thread", headings, rows))
    return 0


def _ratios(ratios: Mapping[str, float], against: list[str]) -> list[str]:
    return [f"{ratios[name]:.1f}" if name in ratios else "–" for name in against]


def show_tutorials(runs: int, as_json: bool) -> int:
    """The networks of snnTorch's tutorials, as their users run them and through ``nr.from_snntorch``."""
    from .tutorials import TUTORIALS, comparisons, summary

    with progress("starting", len(TUTORIALS)) as advance:
        found = list(comparisons(runs, advance))
    if as_json:
        networks = {each.name: {**asdict(each), "ratio": each.ratio} for each in found}
        print(json.dumps({"networks": networks, **summary(found)}))
        return 0
    headings = ("forward and backward, CPU time", "snnTorch, ms", "ours, ms", "we are faster by", "same output")
    rows = (
        (f"{each.name}: {TUTORIALS[each.name].about}", f"{1e3 * each.theirs:.1f}", f"{1e3 * each.ours:.1f}",
         f"{each.ratio:.2f} ×", f"{each.same:.0%}")
        for each in found
    )  # fmt: skip
    out.print(table.plain("W10: networks of snnTorch's tutorials against themselves", headings, rows))
    out.print("ratio: " + ", ".join(f"{key} {value:.2f}" for key, value in summary(found).items()), highlight=False)
    return 0


def show_floor(name: str, runs: int, as_json: bool) -> int:
    """The bound of a workload and what it is made of."""
    from .floor import floor

    f = floor(name, runs)
    numbers = {
        "state MB": f.counts.state_bytes / 1e6,
        "memory GB/s": f.bandwidth / 1e9,
        "row additions, millions": f.counts.row_additions / 1e6,
        "additions by lists, millions": f.counts.list_additions / 1e6,
        "additions, thousand million/s": f.addition_rate / 1e9,
        "by lists, thousand million/s": f.list_rate / 1e9,
        "sparse bound, ms": f.bound_ms,
        "with the recurrent product backward where the surrogate is not 0, ms": f.with_backward_ms,
        f"{peers.OURS}, ms": f.ours_ms,
        f"{peers.OURS} over the bound": f.times_bound,
    }
    if as_json:
        print(json.dumps(numbers))
    else:
        out.print(table.plain(f"{name} against what this machine can do", ("", ""), numbers.items()))
    return 0
