"""The direction of dependencies: held true by test_imports.py, drawn by docs/diagram.py."""

from __future__ import annotations

from functools import cache

LEAVES = {"_util"}

# The parts that each part of the package may import, besides the leaves and whatever these may import in turn.
ARROWS: dict[str, set[str]] = {
    "core": set(),
    "dynamics": {"core"},
    "kernels": {"dynamics"},
    "nn": {"kernels"},
    "interop": {"kernels"},
    "chip": {"core"},
    "fitting": {"chip"},
    "circuit": {"nn", "data", "chip"},
    "attacks": {"core"},
    "bounds": {"nn", "interop", "attacks"},
    "regularizers": {"attacks", "nn", "chip", "bounds"},
    "data": {"nn", "interop", "chip"},
    "io": {"nn", "data", "chip"},
    "evaluation": {"nn", "chip", "attacks", "data", "bounds"},
    "train": {"nn", "regularizers", "evaluation", "data"},
    "viz": {"evaluation", "io"},
    "deploy": {"train", "io", "circuit"},
    "export": {"deploy"},
    "testing": {"viz"},
    "demo": {"train", "viz", "io"},
    "cli": {"demo", "fitting", "export", "testing"},
    "__main__": {"cli"},
}


@cache
def allowed(part: str) -> frozenset[str]:
    """All a part may import: its arrows followed to their ends."""
    return frozenset(LEAVES).union(ARROWS[part], *(allowed(above) for above in ARROWS[part]))
