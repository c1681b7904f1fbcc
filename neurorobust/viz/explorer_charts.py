"""The two charts of the explorer in Vega-Lite: every die of some fleets, and the map of one die.

``explorer.js`` puts the rows in, the size, and the colours of the page; what is drawn stands here.
"""

from __future__ import annotations

from typing import Any

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
ROW, LABEL = 84, 22
"""Height of a method's row and of the words above its dots, px."""
CELL = 20
"""Height of a neuron on a map, px."""


def dies_chart() -> dict[str, Any]:
    """Every die as a dot, one row for each method.

    Data: ``dies`` (method, serial, score, y, good, note), ``methods`` (text, y, mean, ring), ``spec`` (spec).
    """
    x = {"field": "score", "type": "quantitative", "title": "", "scale": {"zero": False, "nice": False}}
    y = {"field": "y", "type": "quantitative", "scale": None, "axis": None}
    color = {"field": "method", "type": "nominal", "legend": None}
    return {
        "$schema": SCHEMA,
        "width": 600,
        "height": ROW,
        "layer": [
            {
                "data": {"name": "dies", "values": []},
                "mark": {"type": "point", "filled": True, "size": 38, "opacity": 0.75, "cursor": "pointer"},
                "encoding": {
                    "x": x | {"axis": {"format": ".2f", "tickCount": 6, "labelFlush": True}},
                    "y": y,
                    "color": color,
                    "shape": {
                        "field": "good",
                        "type": "nominal",
                        "legend": None,
                        "scale": {"domain": [True, False], "range": ["circle", "triangle-down"]},
                    },
                    "tooltip": {"field": "note", "type": "nominal"},
                },
            },
            {
                "data": {"name": "spec", "values": []},
                "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5},
                "encoding": {"x": {"field": "spec", "type": "quantitative"}},
            },
            {
                "data": {"name": "methods", "values": []},
                "mark": {"type": "tick", "thickness": 2.5, "size": ROW - LABEL - 8},
                "encoding": {"x": {"field": "mean", "type": "quantitative"}, "y": y, "color": color},
            },
            {
                "data": {"name": "ring", "values": []},
                "mark": {"type": "point", "filled": False, "size": 150, "strokeWidth": 2},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"name": "labels", "values": []},
                "mark": {"type": "text", "align": "left", "baseline": "top", "fontSize": 13, "fontWeight": 600},
                "encoding": {
                    "x": {"value": 0},
                    "y": y,
                    "text": {"field": "text", "type": "nominal"},
                    "color": color,
                },
            },
        ],
    }


def map_chart() -> dict[str, Any]:
    """One value for every neuron of a die, one panel for each core.

    Data: ``neurons`` (core, row, column, value, note).
    """
    return {
        "$schema": SCHEMA,
        "data": {"name": "neurons", "values": []},
        "facet": {
            "row": {
                "field": "core",
                "type": "nominal",
                "sort": None,
                "title": None,
                "header": {"labelAngle": 0, "labelOrient": "top", "labelAnchor": "start", "labelPadding": 3},
            }
        },
        "spacing": 6,
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 320,
            "height": {"step": CELL},
            "mark": {"type": "rect"},
            "encoding": {
                "x": {"field": "column", "type": "ordinal", "axis": None},
                "y": {"field": "row", "type": "ordinal", "axis": None},
                "color": {
                    "field": "value",
                    "type": "quantitative",
                    "scale": {"domain": [-1, 1], "domainMid": 0, "clamp": True},
                    "legend": {"orient": "bottom", "direction": "horizontal", "title": None, "format": "+.0%"},
                },
                "tooltip": {"field": "note", "type": "nominal"},
            },
        },
    }
