"""``zoo``: the trained networks that come with the package."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Column, Table

from ..io import zoo
from .shared import Json, pairs, show

order = 3.5
app = typer.Typer(name="zoo", help="Trained networks that come with the package.", no_args_is_help=True)


@app.command("list")
def zoo_list(as_json: Json = False) -> None:
    """Every network of the zoo, named task/method: its chip, the neurons of its layers, its weights.

    [bold]Example[/bold]

      neurorobust zoo list --json
    """
    payload = {name: zoo.describe(name) for name in zoo.names()}

    def table() -> Table:
        words = (Column(title, no_wrap=True) for title in ("network", "chip"))
        numbers = (Column(title, justify="right", no_wrap=True) for title in ("neurons", "weights"))
        shown = Table(*words, *numbers, title="zoo", title_justify="left", caption_justify="left")
        shown.caption = "`neurorobust zoo show NAME` has the rest."
        for name, card in payload.items():
            sizes = " + ".join(str(layer["neurons"]) for layer in card["layers"].values())
            shown.add_row(name, card["chip"] or "none", sizes, str(card["weights"]))
        return shown

    show(payload, as_json, table)


@app.command("show")
def zoo_show(
    name: Annotated[str, typer.Argument(help="See `neurorobust zoo list`.", show_default=False)],
    as_json: Json = False,
) -> None:
    """The card of one network, and its folder, which `evaluate`, `attack` and `deploy` take.

    [bold]Examples[/bold]

      neurorobust zoo show ecg/adversarial

      neurorobust zoo show ecg/adversarial --json
    """
    card = zoo.describe(name)
    rows: dict[str, Any] = {key: card[key] for key in ("task", "chip", "method", "seed", "epochs")}
    rows |= {"neurons": neurons(card), "weights": card["weights"], "trained numbers": card["trained"]}
    rows |= {"dt": f"{1000 * card['dt']:g} ms", "epoch chosen by": card["selection"], "folder": card["folder"]}
    rows |= {"in Python": f"network, info = nr.zoo.load({name!r})"}
    show(card, as_json, lambda: pairs(name, rows))


def neurons(card: dict[str, Any]) -> str:
    """Layers in words: ``128 LinearizedDpi, 2 LeakyIntegrator``."""
    return ", ".join(f"{layer['neurons']} {layer['type']}" for layer in card["layers"].values())
