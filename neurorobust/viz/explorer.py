"""One page with every die of some fleets: choose methods, dies, seed and specification, and see what is left.

The page needs no other file and sends no request. Vega and Vega-Lite are in the folder ``vega``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from .._util import files
from ..evaluation import Yield, clopper_pearson
from ..evaluation.fleet import check_spec
from . import plotting
from .explorer_charts import LABEL, ROW, dies_chart, map_chart
from .fleets import FleetRecord, check_same
from .templates import template

HERE = Path(__file__).parent
LIBRARIES = ("vega/vega.min.js", "vega/vega-lite.min.js")
SHOWN = 3
"""Methods that are chosen when the page opens."""
FIGURES = 2
"""Choices of dies in the figure for browsers without scripts."""
STEP = Decimal("0.005")
"""Of the specification on the slider."""
DARK_PAGE = "#14171b"
KINDS: Mapping[str, str] = {
    "weight": "weights",
    "bias": "biases",
    "tau_mem": "membrane time constant",
    "tau_syn": "synaptic time constant",
    "tau_adapt": "adaptation time constant",
    "adaptation": "adaptation strength",
    "v_threshold": "threshold",
    "v_leak": "leak potential",
    "v_reset": "reset potential",
    "v_floor": "floor potential",
    "r": "membrane resistance",
    "t_ref": "refractory time",
}
"""Kinds in words."""


def write(records: Sequence[FleetRecord], out: str | Path, *, spec: float = 0.9, source: str = "") -> Path:
    """Write the page of some fleets, see :func:`page`."""
    out, text = Path(out), page(records, spec=spec, source=source)
    files.make_folder(out.parent)
    files.write_text(out, text)
    return out


def page(records: Sequence[FleetRecord], *, spec: float = 0.9, source: str = "") -> str:
    """The page of some fleets, as HTML.

    Args:
        records: of one task; each method has a fleet for some training seeds and dies.
        spec: the specification at the start. source: how the numbers were made, for the end of the page.

    Raises:
        ValueError: no record, fleets that cannot be compared, or a specification that is no score.
    """
    if not records:
        raise ValueError("records: got none; expected at least one fleet.")
    check_same(records)
    spec = check_spec(spec)
    first = records[0]
    methods = list(dict.fromkeys(record.method for record in records))
    return template("explorer.html.jinja").render(
        title=f"Every die: {first.task}",
        first=first,
        spec=spec,
        lowest=_lowest(records, spec),
        step=STEP,
        methods=methods,
        dies=labels(records),
        seeds=seeds(records),
        table=_table(records, spec),
        figure=_figure(records, spec),
        source=source,
        data=_script_json(_payload(records, spec)),
        libraries=[Markup((HERE / name).read_text(encoding="utf-8")) for name in LIBRARIES],
        script=Markup((HERE / "explorer.js").read_text(encoding="utf-8")),
    )


def labels(records: Sequence[FleetRecord]) -> list[str]:
    """The choices of dies, in the order in which they come."""
    return list(dict.fromkeys(_dies(record, records) for record in records))


def seeds(records: Sequence[FleetRecord]) -> list[str]:
    """The choices of training seeds, by number; one that is unknown is first."""
    ordered = sorted(records, key=lambda record: -1 if record.seed is None else record.seed)
    return list(dict.fromkeys(map(_seed, ordered)))


def on_dark(color: str) -> str:
    """The colour of a method on a dark page: mixed with white until its contrast is 5 to 1."""
    red, green, blue = to_rgb(color)
    for white in np.linspace(0, 1, 51):
        mixed = to_hex((red + (1 - red) * white, green + (1 - green) * white, blue + (1 - blue) * white))
        if contrast(mixed, DARK_PAGE) >= 5:
            return mixed
    return "#ffffff"


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21 (WCAG)."""
    light = []
    for color in (one, other):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        light.append(sum(c * part for c, part in zip(linear, (0.2126, 0.7152, 0.0722))))
    return (max(light) + 0.05) / (min(light) + 0.05)


def _seed(record: FleetRecord) -> str:
    return "–" if record.seed is None else str(record.seed)


def _dies(record: FleetRecord, records: Sequence[FleetRecord]) -> str:
    """The name of a choice of dies; with the seed of the dies, where there are several."""
    several = len({other.die_seed for other in records}) > 1
    return f"{record.dies} (dies of seed {record.die_seed})" if several else record.dies


def _lowest(records: Sequence[FleetRecord], spec: float) -> str:
    """The low end of the slider: whole steps below the specification, which is one of its values then."""
    low = min(0.0, *(score for record in records for score in record.scores)) if records[0].measure == "R²" else 0.0
    start = Decimal(str(spec))
    return str(start - (start - Decimal(str(low))) // STEP * STEP)


def _payload(records: Sequence[FleetRecord], spec: float) -> dict[str, Any]:
    """What ``explorer.js`` reads. Maps that several fleets share are there once."""
    codes: dict[str, int] = {}
    maps: dict[str, int] = {}
    fleets = []
    for record in records:
        kinds = {
            serial: {kind: [found.alone, found.without] for kind, found in of.items()}
            for serial, of in record.kinds.items()
        }
        shared = maps.setdefault(json.dumps(_pooled(record.maps, codes)), len(maps)) if record.maps else None
        fleets.append(
            {
                "method": record.method,
                "seed": _seed(record),
                "dies": _dies(record, records),
                "serials": record.serials,
                "nominal": record.nominal,
                "scores": record.scores,
                "kinds": kinds,
                "maps": shared,
            }
        )
    sizes = {len(record.scores) for record in records}
    names = dict.fromkeys(record.method for record in records)
    colors = {name: plotting.method_style(name, place)[0] for place, name in enumerate(names)}
    return {
        "measure": records[0].measure,
        "spec": spec,
        "shown": list(names)[:SHOWN],
        "colors": {name: [color, on_dark(color)] for name, color in colors.items()},
        "kinds": KINDS,
        "intervals": {n: [clopper_pearson(good, n) for good in range(n + 1)] for n in sizes},
        "fleets": fleets,
        "maps": [json.loads(text) for text in maps],
        "codes": list(codes),
        "charts": {"dies": dies_chart(), "map": map_chart()},
        "row": ROW,
        "label": LABEL,
    }


def _pooled(maps: Mapping[str, Any], codes: dict[str, int]) -> dict[str, Any]:
    """Maps with the numbers of their codes in a common list."""
    parameters = {
        name: {**parameter, "codes": codes.setdefault(parameter["codes"], len(codes))}
        for name, parameter in maps["parameters"].items()
    }
    return {**maps, "parameters": parameters}


def _script_json(value: Any) -> Markup:
    """JSON that can stand inside <script>: no < is left, so no text can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _table(records: Sequence[FleetRecord], spec: float) -> list[dict[str, Any]]:
    """The rows of the table for browsers without scripts."""
    rows, names = [], labels(records)
    for record in records:
        good = Yield.of(_array(record), spec)
        rows.append(
            {
                "place": names.index(_dies(record, records)),
                "method": record.method,
                "seed": _seed(record),
                "nominal": f"{record.nominal:.3f}",
                "mean": f"{_array(record).mean():.3f}",
                "yield": f"{good.fraction:.2f} [{good.ci95[0]:.2f}, {good.ci95[1]:.2f}]",
                "worst": ", ".join(
                    f"{serial} ({record.scores[record.serials.index(serial)]:.3f})" for serial in record.worst()
                ),
            }
        )
    return rows


def _array(record: FleetRecord) -> np.ndarray:
    return np.array(record.scores)


def _figure(records: Sequence[FleetRecord], spec: float) -> str:
    """Every die of the first seed of each method, as a PNG in base64."""
    groups: dict[str, dict[str, Any]] = {}
    for record in records:
        if len(groups) == FIGURES and _dies(record, records) not in groups:
            continue
        groups.setdefault(_dies(record, records), {}).setdefault(record.method, _array(record))
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(8, 3.4 * len(groups)), layout="constrained")
        axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
        plotting.fleet_violins(axes, groups, spec)
        for ax in axes:
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=72, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()
