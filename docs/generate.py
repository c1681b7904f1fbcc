"""Pages made from the code at every build, so that they cannot disagree with it.

Each function takes objects and returns text; :func:`write_all` is what ``conf.py`` calls.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import chip_pages
import numpy as np
import public
import typer
import versions_page
import zoo_pages
from arrows import ARROWS, LEAVES, allowed
from audit import COSTS, audit, read_costs
from diagram import svg
from leaderboard import leaderboard
from notebooks import all_tutorials, gallery, pages, toctree
from studies import rare_network_table, rare_table
from text import table
from typer.testing import CliRunner

import chipmodels
import neurorobust
from neurorobust._util import files
from neurorobust.cli import app
from neurorobust.data import tasks
from neurorobust.export import readers
from neurorobust.export.cell import Cell

# The parts of the package by area, in reading order; a part that is not named comes last.
AREAS: Mapping[str, tuple[str, ...]] = {
    "Parameters and deviations": ("core",),
    "Networks": ("nn", "dynamics", "kernels", "interop"),
    "Chips": ("chipmodels", "chip", "fitting", "circuit"),
    "Attacks and robust training": ("attacks", "regularizers", "train"),
    "Tasks": ("data",),
    "Measuring": ("evaluation", "bounds", "viz", "testing"),
    "Storage and exchange": ("io", "export"),
}
NEST = Path(__file__).parent.parent / "benchmarks/results/pynn_nest.json"
LARGE = NEST.with_name("large_data.json")
SPREAD = NEST.with_name("spread.json")
OWN_PAGE = {"cli", "demo"}  # described by their --help


def write_all(docs: Path) -> None:
    """Write every generated page below ``docs``, and remove those of earlier builds that are gone."""
    wanted = {
        **chip_pages.pages(chipmodels.models()),
        "_generated/zoo.md": zoo_pages.cards(),
        "_generated/leaderboard.md": leaderboard(),
        "_generated/audit.md": audit(chipmodels.models(), read_costs(COSTS, chipmodels.models())),
        "_generated/commands.md": commands(app),
        "_generated/tasks.md": task_table(tasks),
        "_generated/readers.md": reader_table(),
        "_generated/pynn.md": pynn_table(),
        "_generated/large-data.md": large_table(),
        "_generated/spread.md": spread_table(),
        "_generated/spread-model.md": spread_model(),
        "_generated/rare.md": rare_table(),
        **versions_page.tables(),
        "_generated/rare-network.md": rare_network_table(),
        "_generated/gallery.md": gallery(all_tutorials()),
        "_generated/tutorials.md": toctree(all_tutorials()),
        **{f"tutorial/{name}": text for name, text in pages(all_tutorials()).items()},
        "_generated/parts.svg": diagram(),
        "_generated/parts.md": part_table(),
        "api/index.rst": api_index(),
        **{f"api/{part}.rst": api_page(part) for part in parts() if part not in OWN_PAGE},
        "api/chipmodels.rst": chipmodels_page(),
    }
    for folder in ("_generated", "api", "chips", "tutorial"):
        (docs / folder).mkdir(exist_ok=True)
        for path in (docs / folder).iterdir():
            if f"{folder}/{path.name}" not in wanted:
                path.unlink()
    for name, text in wanted.items():
        path = docs / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # else Sphinx would read it again
            files.write_text(path, text)


# ---- command line and tasks


def commands(application: typer.Typer) -> str:
    """The ``--help`` of the command line and of each command, as a terminal of 88 columns shows it."""
    runner, sections = CliRunner(), []
    plain = {"COLUMNS": "88", "TERMINAL_WIDTH": "88", "NO_COLOR": "1", "TERM": "dumb"}
    for words in command_names(application):
        result = runner.invoke(application, [*words, "--help"], prog_name="neurorobust", env=plain)
        if result.exit_code:
            raise RuntimeError(f"neurorobust {' '.join(words)} --help failed: {result.output}")
        shown = "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())
        sections.append(f"## {' '.join(['neurorobust', *words])}\n\n```text\n{shown.strip()}\n```\n")
    return "\n".join(sections)


def command_names(application: typer.Typer) -> list[tuple[str, ...]]:
    """The command line itself and every command, as the words that follow ``neurorobust``."""

    def walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))

    return list(walk(typer.main.get_command(application), ()))


def task_table(package: ModuleType) -> str:
    """Every task that comes with the package, with what its docstring says."""
    rows = [[f"`nr.tasks.{name}`", _first_line(build)] for name, build in task_builders(package).items()]
    return table(["task", "the question"], rows)


def task_builders(package: ModuleType) -> dict[str, Callable]:
    """The tasks: in every module of the package the function of the module's own name, if it has one."""
    found: dict[str, Callable] = {}
    for info in pkgutil.iter_modules(package.__path__):
        build = getattr(importlib.import_module(f"{package.__name__}.{info.name}"), info.name, None)
        if inspect.isfunction(build):
            found[info.name] = build
    return found


# ---- parts and reference


def parts() -> list[str]:
    """The public modules and packages directly inside neurorobust."""
    return [info.name for info in pkgutil.iter_modules(neurorobust.__path__) if not info.name.startswith("_")]


def reach() -> dict[str, frozenset[str]]:
    """For each part that exists, all parts that it may import; without the leaves, which every part may import."""
    here = set(parts()) & set(ARROWS)
    return {part: allowed(part) & here for part in ARROWS if part in here}


def diagram() -> str:
    """The parts and their arrows, drawn from the table that the import test checks."""
    links = {part: "cli.html" if part in OWN_PAGE else f"api/{part}.html" for part in reach()}
    return svg(reach(), {part: _first_line(_part(part)) for part in reach()}, links)


def part_table() -> str:
    """Every part with the first line of its docstring."""
    rows = [[_link(part), _first_line(_part(part))] for part in [*reach(), *sorted(LEAVES)]]
    return table(["part", "what it is for"], rows)


def _link(part: str) -> str:
    if part in OWN_PAGE:
        return f"[{part}](cli.md)"
    return f"`{part}`" if part.startswith("_") else f"[{part}](api/{part}.rst)"  # a private part has no page


def _part(part: str) -> ModuleType:
    return importlib.import_module(f"neurorobust.{part}")


def api_index() -> str:
    """The short public names, and the parts by area."""
    named = {part for area in AREAS.values() for part in area} | OWN_PAGE
    areas = dict(AREAS) | {"Other parts": tuple(part for part in parts() if part not in named)}
    text = [
        _title("Reference"),
        "Each entry has an example. A test runs every example as it stands, after these imports:\n",
        ".. code-block:: python\n\n   import snntorch\n   import torch\n   from torch import nn\n\n"
        "   import neurorobust as nr\n",
        "Arguments are checked. A value of a wrong type raises ``TypeError``; what else is refused, ``Raises`` says. "
        "Units are those of the SI. These are the short names; the parts below hold all others:\n",
        ".. list-table::\n   :widths: 30 70\n",
        *(f"   * - :py:obj:`nr.{name} <neurorobust.{name}>`\n     - {_about(name)}" for name in neurorobust.__all__),
        "",
    ]
    for area, members in areas.items():
        here = [part for part in members if part in (*parts(), "chipmodels")]
        if here:
            text += [f".. toctree::\n   :caption: {area}\n   :maxdepth: 1\n", *(f"   {part}" for part in here), ""]
    return "\n".join(text)


def _about(name: str) -> str:
    """The first line of the docstring of a short public name; of a constant, of the string that follows it."""
    value = getattr(neurorobust, name)
    if not isinstance(value, int | float | str):
        return _first_line(value)
    for module in (sys.modules[key] for key in sorted(sys.modules) if key.startswith("neurorobust.")):
        found = re.search(rf'^{name} = [^\n]*\n"""(.+?)"""', inspect.getsource(module), re.MULTILINE | re.DOTALL)
        if found:
            return " ".join(found[1].split())
    raise ValueError(f"neurorobust.{name}: no string after it says what it is.")


def _home(value: object) -> str:
    """The module that defines a class or a function; anything else counts as at home everywhere."""
    return getattr(value, "__module__", "neurorobust") if callable(value) else "neurorobust"


def api_page(part: str) -> str:
    """One part: what it exports to users, then the modules below it that users import from."""
    name = f"neurorobust.{part}"
    module = importlib.import_module(name)
    shown = public.shown(part)
    here = [key for key in shown if _home(getattr(module, key)).startswith(name)]  # others are described elsewhere
    late = [key for key in here if key not in vars(module)]  # imported on first use
    documented = [key for key in here if key not in late and not inspect.ismodule(getattr(module, key))]
    text = [_title(part), f".. automodule:: {name}"]
    text += [f"   :members: {', '.join(documented)}\n   :show-inheritance:\n" if documented else ""]
    text += [_directive(f"{name}.{key}", getattr(module, key)) + "\n" for key in late]
    for inner, words in public.below(part).items():
        home = importlib.import_module(f"neurorobust.{inner}")
        heading = public.spelled(inner)
        text += [heading, "-" * len(heading), "", f".. py:currentmodule:: {home.__name__}\n"]
        text += [inspect.cleandoc(home.__doc__ or "").split("\n\nExample:")[0], ""]
        text += [_directive(f"{home.__name__}.{word}", getattr(home, word)) + "\n" for word in words]
    return "\n".join(text)


def chipmodels_page() -> str:
    """The package of chip models: its functions, without those that the page of fitting describes."""
    own = [name for name in chipmodels.__all__ if name not in public.shown("fitting")]
    text = [_title("chipmodels"), ".. automodule:: chipmodels\n"]
    text += [_directive(f"chipmodels.{name}", getattr(chipmodels, name)) + "\n" for name in own]
    return "\n".join(text)


def _directive(name: str, value: object) -> str:
    """The reference of one class with its members, or of one function."""
    return f".. autoclass:: {name}\n   :members:" if inspect.isclass(value) else f".. autofunction:: {name}"


# ---- text


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _first_line(thing: object) -> str:
    """The first paragraph of a docstring in one line, its references as plain text."""
    paragraph = inspect.cleandoc(getattr(thing, "__doc__", "") or "").split("\n\n")[0]
    return re.sub(r":[\w:]+:`~?([^`]+)`", r"``\1``", " ".join(paragraph.split()))


def reader_table() -> str:
    """Who reads what: neurons that a file can be written for, tried on every reader."""
    one, varied = np.full(2, 0.01), np.array([0.01, 0.02])

    def takes(reader: Any, **changed: Any) -> bool:
        values = {"tau_mem": one, "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2)}
        try:
            reader.lowered(Cell(**values | {"v_reset": np.zeros(2)} | changed), 1e-3)
        except ValueError:
            return False
        return True

    rows = ["| reader | version | neurons | reset | values per neuron | v_leak ≠ v_reset | recurrence | other nodes |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for name, reader in sorted(readers().items()):
        kinds = {"Lif": {}, "CubaLif": {"tau_syn": one / 2}}
        resets = [
            reset
            for reset in ("ToValue", "Subtract")
            if any(takes(reader, reset=reset, **kind) for kind in kinds.values())
        ]
        read = [kind for kind, own in kinds.items() if any(takes(reader, reset=reset, **own) for reset in resets)]
        base = {"reset": resets[0], **kinds[read[0]]}
        rows.append(
            f"| {name} | {reader.version} | {', '.join(read)} | {', '.join(resets)} | "
            f"{'yes' if takes(reader, **base | {'tau_mem': varied}) else 'no'} | "
            f"{'yes' if takes(reader, **base | {'v_leak': varied}) else 'no'} | "
            f"{'yes' if reader.recurrence else 'no'} | {', '.join(sorted(reader.connections))} |"
        )
    return "\n".join(rows) + "\n"


def pynn_table() -> str:
    """What NEST makes of exported networks, as ``benchmarks.pynn_nest`` kept it."""
    found = json.loads(NEST.read_text(encoding="utf-8"))
    spikes = [
        [f"`{name}`{how}", str(row["networks"]), f"{row['spikes']:,}", f"{row['differing']} of {row['bins']:,} bins"]
        for name, how, row in (
            ("IF_curr_delta", ", the script in PyNN", found["IF_curr_delta"]),
            ("iaf_psc_delta", ", recurrent layers written to NEST without PyNN", found["iaf_psc_delta"]),
        )
    ]
    rates = [
        [
            f"{row['dt_ms']:g} ms",
            f"{row['hz']:.0f} Hz",
            f"{100 * row['difference']:+.2f} %",
            f"{100 * row['mean_difference_of_a_network']:.2f} %",
            f"{100 * row['largest']:.1f} %",
        ]
        for kind in ("IF_curr_exp", "IF_curr_exp, low thresholds")
        for row in found[kind]
    ]
    return (
        table(["as", "networks", "spikes here", "differ"], spikes)
        + "\n"
        + table(
            ["`IF_curr_exp`, step", "rate here", "NEST: all", "size in one network: mean", "largest"],
            rates,
        )
    )


def large_table() -> str:
    """Memory, passes and time of a large data set, as ``benchmarks.large_data`` kept them."""
    kept = json.loads(LARGE.read_text(encoding="utf-8"))
    rows = [
        [
            kind,
            name,
            f"{kept[kind]['labels']['gigabytes']:.0f} GB",
            f"{row['passes']:.0f}",
            f"{row['peak_gb']:.2f} GB",
            f"{row['seconds'] / 60:.0f} min",
        ]
        for kind in kept
        for name, row in kept[kind].items()
        if isinstance(row, dict) and "passes" in row
    ]
    return table(["network, data", "part", "data", "passes", "largest memory so far", "time"], rows)


def spread_table() -> str:
    """The parts of spread work, as ``benchmarks.spread`` kept them."""
    kept = json.loads(SPREAD.read_text(encoding="utf-8"))
    rows = [
        ["dies; rounds", *(f"{row['dies']}; {row['rounds']}" for row in kept.values())],
        ["load before and after", *(f"{row['load'][0]}, {row['load'][1]}" for row in kept.values())],
        ["cores", *(str(row["cores"]) for row in kept.values())],
        *(
            [words, *(shape(row["seconds"][key]) for row in kept.values())]
            for words, key, shape in (
                ("one process, s", "one process", "{:.1f}".format),
                ("two workers, s", "workers", "{:.1f}".format),
                ("first call, which sends network and data, s", "first call", "{:.1f}".format),
                ("start of the workers, s", "start", "{:.1f}".format),
                ("pickling of network, chip and data, s", "pickling", "{:.2f}".format),
            )
        ),
        ["**efficiency**", *(f"**{row['efficiency']:.2f}**" for row in kept.values())],
        ["efficiency in processor time", *(f"{row['efficiency in processor time']:.2f}" for row in kept.values())],
        ["processor time per die, ms", *(f"{1e3 * row['seconds per die']:.0f}" for row in kept.values())],
        ["a task costs the caller, ms", *(f"{1e3 * row['overhead per task']['caller']:.2f}" for row in kept.values())],
        ["network and chip, kB", *(f"{row['bytes']['network and chip'] / 1e3:.0f}" for row in kept.values())],
        ["data, MB", *(f"{row['bytes']['data'] / 1e6:.1f}" for row in kept.values())],
        ["a task, bytes", *(f"{row['bytes']['task']}" for row in kept.values())],
        ["largest worker, MB", *(f"{row['largest worker, MB']:.0f}" for row in kept.values())],
    ]
    return table(["", *(row["executor"] for row in kept.values())], rows)


def spread_model() -> str:
    """10 networks on 10,000 dies each, by the model."""
    kept = json.loads(SPREAD.read_text(encoding="utf-8"))
    rows = [
        [
            str(each["workers"]),
            row["executor"],
            f"{each['seconds'] / 3600:.2f} h",
            f"{each['efficiency']:.2f}",
            f"{each['gigabytes sent']:.2f} GB",
            f"{each['caller']:.0f} s",
            f"{each['megabytes kept']:.1f} MB",
        ]
        for row in kept.values()
        for each in row["predicted"]
    ]
    head = ["workers", "parts measured on", "time", "efficiency", "sent", "work of the caller", "kept in a folder"]
    return table(head, rows)
