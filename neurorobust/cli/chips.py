"""``chips``: list, show, compare, snapshot, diff, fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from .._util import files
from .._util.console import err, out, several
from ..chip import ChipModel, card, differences, draw_model, laws, numbers, statements
from ..chip import snapshot as snapshots
from ..chip.chip_file import save, source
from ..chip.installed import chip_model, chip_models
from ..fitting import Recording, analyze
from .shared import Json, folded, show, write_json

order = 4
app = typer.Typer(name="chips", help="Chip models.", no_args_is_help=True)


@app.command("list")
def chips_list(as_json: Json = False) -> None:
    """Every chip model that is installed, with each number's status and source.

    [bold]Example[/bold]

      neurorobust chips list --json
    """
    models = chip_models()
    payload: dict[str, Any] = {
        name: {
            "title": chip.title,
            "version": chip.version,
            "limits": {limit: fact.value for limit, fact in chip.limits.facts().items()},
            "kinds": {
                kind: {"cv": model.cv.value, "status": model.cv.status, "source": model.cv.source}
                for kind, model in chip.kinds.items()
            },
            "notes": list(chip.notes),
        }
        for name, chip in models.items()
    }

    def table() -> Table:
        shown = folded("chip", "kinds", "CV", "status", "source", title="chip models")
        shown.columns[0].no_wrap = shown.columns[3].no_wrap = True
        shown.caption, shown.caption_justify = "`neurorobust chips show NAME` has the rest.", "left"
        for name, chip in payload.items():
            shown.add_section()
            for (cv, status, said), kinds in _alike(chip["kinds"]).items():
                shown.add_row(name, ", ".join(kinds), f"{cv:g}", status, said)
                name = ""
        return shown

    show(payload, as_json, table)


def _alike(kinds: dict[str, dict[str, Any]]) -> dict[tuple[Any, ...], list[str]]:
    """The kinds of a chip that have the same number, status and source, by these."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for kind, fact in kinds.items():
        found.setdefault((fact["cv"], fact["status"], fact["source"]), []).append(kind)
    return found


@app.command("show")
def chips_show(
    name: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    figure: Annotated[Path | None, typer.Option(help="Draw the distributions to FIGURE.svg and FIGURE.png.")] = None,
    as_json: Json = False,
) -> None:
    """The card of one chip: how each kind varies, every number with its status and source, what its neurons do, and all
    approximations.

    [bold]Examples[/bold]

      neurorobust chips show dynapse2 --json

      neurorobust chips show dynapse2 --figure dynapse2
    """
    chip = chip_model(name)
    if figure is not None:
        from ..viz.plotting import save_figure

        files.make_folder(figure.parent)
        save_figure(draw_model(chip), figure)

    def table() -> Group:
        title = f"{chip.name}, version {chip.version}: {chip.title}"
        caption = "\n".join(f"· {note}" for note in chip.notes)
        lawful = folded("kind", "varies", "set", "stored", title=title)
        for law in laws(chip):
            lawful.add_row(*law)
        shown = folded("number", "value", "status", "source", caption=caption, caption_justify="left")
        for row in numbers(chip):
            shown.add_row(*row)
        shown.add_section()
        for row in statements(chip):
            shown.add_row(*row)
        return Group(lawful, shown)

    show(card(chip), as_json, table)


@app.command("compare")
def chips_compare(
    first: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    second: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Differences between two chip models.

    [bold]Example[/bold]

      neurorobust chips compare dynapse2 dynapse1
    """
    payload = differences(chip_model(first), chip_model(second))

    def table() -> Table:
        shown = folded("", first, second, title=f"{first} and {second}")
        for what, values in payload.items():
            shown.add_row(what, *("–" if value is None else str(value) for value in values.values()))
        return shown

    show(payload, as_json, table)


@app.command("snapshot")
def chips_snapshot(
    name: Annotated[str, typer.Argument(help="See `neurorobust chips list`.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The file; default: NAME-VERSION.json.")] = None,
    as_json: Json = False,
) -> None:
    """Write all numbers of a chip model to a file, to compare a later version with.

    [bold]Example[/bold]

      neurorobust chips snapshot dynapse2 --out dynapse2.json
    """
    chip = chip_model(name)
    path = Path(f"{chip.name}-{chip.version}.json") if out is None else out
    files.make_folder(path.parent)
    written = snapshots.save(chip, path)
    if as_json:
        write_json({"file": str(path), "written": written, "chip": chip.name, "version": chip.version})
    else:
        err.print(f"{path}: {'written' if written else 'unchanged'}, {chip.name} version {chip.version}", markup=False)


@app.command("diff")
def chips_diff(
    old: Annotated[str, typer.Argument(help="A snapshot, or the name of an installed chip.", show_default=False)],
    new: Annotated[str, typer.Argument(help="A snapshot, or the name of an installed chip.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Numbers that differ between two versions of a chip model: stated ones, and statistics of devices.

    [bold]Example[/bold]

      neurorobust chips diff dynapse2-2.json dynapse2
    """
    first, second = _snapshot(old), _snapshot(new)
    found = snapshots.drift(first, second)
    payload: dict[str, Any] = {
        "old": {"chip": first["chip"], "version": first["version"]},
        "new": {"chip": second["chip"], "version": second["version"]},
        "drift": {name: list(values) for name, values in found.items()},
    }

    if not found and not as_json:
        out.print(f"{old} and {new}: no number differs.", markup=False, highlight=False, soft_wrap=True)
        return

    def table() -> Table:
        names = [f"{each['chip']} version {each['version']}" for each in (first, second)]
        shown = folded("number", *names, title=f"{several(len(found), 'number')} differ")
        for name, values in found.items():
            shown.add_row(name, *("–" if value is None else str(value) for value in values))
        return shown

    show(payload, as_json, table)


def _snapshot(word: str) -> snapshots.Snapshot:
    """That of a file, or of an installed chip model by name; a word with a dot or a slash is a file."""
    if "." in word or "/" in word:
        return snapshots.load(Path(word))
    return snapshots.snapshot(chip_model(word))


@app.command("fit")
def chips_fit(
    csv: Annotated[
        Path,
        typer.Argument(
            help="Columns chip, core, neuron, parameter (a kind), setting, value and optionally unit; SI units.",
            show_default=False,
        ),
    ],
    grid: Annotated[
        str | None, typer.Option(help="ROWSxCOLUMNS of a core's neurons, numbered row by row; default: no field.")
    ] = None,
    floor: Annotated[list[str] | None, typer.Option(help="KIND=VALUE, the lowest that could be recorded.")] = None,
    ceiling: Annotated[list[str] | None, typer.Option(help="KIND=VALUE, the highest that could be recorded.")] = None,
    sentinel: Annotated[list[float] | None, typer.Option(help="A value that means: not measured.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the chip model to this Python file; `--chip mine.py` uses it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there and says something else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Variability of a chip from measurements: families, spreads, gradients, cores, chips, each with a 95 % interval.

    [bold]Examples[/bold]

      neurorobust chips fit measured.csv --grid 16x16

      neurorobust chips fit measured.csv --ceiling tau_mem=0.08 --json

      neurorobust chips fit measured.csv --grid 16x16 --out mine.py
    """
    if force and out is None:
        raise ValueError("force: is for the file of --out FILE; add it, or leave --force out.")
    fitted = analyze(
        csv,
        name=csv.stem,
        grid=None if grid is None else _sides(grid),
        recording=Recording(_by_kind("floor", floor), _by_kind("ceiling", ceiling), tuple(sentinel or ())),
    )

    if out is not None:
        _write(fitted.model(), out, force)

    def table() -> Table:
        shown = folded("kind", "number", "estimate", "95 % interval", title=str(csv))
        for row in fitted.rows():
            shown.add_row(*row)
        return shown

    show(fitted.card(), as_json, table)


def _write(model: ChipModel, out: Path, force: bool) -> None:
    """Write a chip model; a file with other text is kept unless ``force`` is set."""
    if not force and out.exists() and (not out.is_file() or out.read_bytes() != source(model).encode()):
        raise ValueError(f"out: {str(out)!r} is there and is not this chip model; choose another file, or add --force.")
    save(model, out)


def _sides(grid: str) -> tuple[int, int]:
    rows, _, columns = grid.partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise ValueError(f"grid: got {grid!r}; expected rows and columns, 16x16.")
    return int(rows), int(columns)


def _by_kind(option: str, words: list[str] | None) -> dict[str, float]:
    """KIND=VALUE → {kind: value}."""
    try:
        return {kind: float(value) for kind, _, value in (word.partition("=") for word in words or ())}
    except ValueError as error:
        raise ValueError(f"{option}: got {' '.join(words or ())!r}; expected KIND=VALUE, tau_mem=0.08.") from error
