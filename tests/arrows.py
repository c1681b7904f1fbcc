"""The direction of dependencies: held true by test_imports.py, drawn by docs/diagram.py."""

from __future__ import annotations

from functools import cache

LEAVES = {"errors", "files", "console"}

# What each part of the package may import, besides the leaves and whatever these may import in turn.
ARROWS: dict[str, set[str]] = {
    "randomness": set(),
    "params": {"randomness", "noise"},
    "surrogate": {"params"},
    "kernels": {"surrogate"},
    "connections": {"kernels"},
    "neurons": {"connections"},
    "network": {"neurons"},
    "foreign": {"kernels"},
    "laws": {"params"},
    "quantization": {"params"},
    "drift": {"params"},
    "noise": set(),
    "defects": {"params"},
    "sites": {"params"},
    "chip": {"laws", "quantization", "drift", "defects", "sites"},
    "attacks": {"params"},
    "bounds": {"network", "foreign", "attacks"},
    "regularizers": {"attacks", "network", "chip", "bounds"},
    "tasks": {"network", "foreign", "chip"},
    "discovery": {"chip"},
    "storage": {"network", "tasks", "discovery"},
    "evaluation": {"network", "chip", "attacks", "tasks", "bounds"},
    "deploy": {"network", "chip", "attacks", "tasks"},
    "training": {"network", "regularizers", "evaluation", "tasks"},
    "methods": {"regularizers", "training"},
    "plotting": {"evaluation"},
    "report": {"evaluation", "plotting", "storage"},
    "demo": {"methods", "report", "storage"},
    "zoo": {"storage"},
    "parallel": {"network"},
    "cli": {"demo", "deploy", "plotting", "zoo"},
}


@cache
def allowed(part: str) -> frozenset[str]:
    """All a part may import: its arrows followed to their ends."""
    return frozenset(LEAVES).union(ARROWS[part], *(allowed(above) for above in ARROWS[part]))
