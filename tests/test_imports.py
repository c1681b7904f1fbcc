"""The imports, read from the source, against the direction of dependencies in design.md."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from arrows import ARROWS, LEAVES, allowed

import neurorobust

ROOT = Path(neurorobust.__file__).parent


def part_of(path: Path) -> str:
    """neurorobust/attacks/pga.py → attacks; neurorobust/core/params.py → params; neurorobust/__init__.py → __init__."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path, package: str) -> set[str]:
    """Absolute names of all modules a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    return ".".join(["neurorobust", *path.relative_to(ROOT).parts[:-1]])


def test_arrows_have_no_cycle():
    """Following the arrows from any part never comes back to it (a cycle would be endless recursion)."""
    order = list(ARROWS)
    for part in order:
        assert part not in allowed(part)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    """Every import inside the package follows an arrow of design.md; the root shows anything but the command line."""
    part = part_of(path)
    targets = {name.split(".")[1] for name in imports_of(path, package_of(path)) if name.startswith("neurorobust.")}
    if part == "__init__":
        assert not targets & {"cli", "demo"}
        return
    if part in LEAVES:
        assert targets <= {part}
        return
    assert part in ARROWS, f"{part} is new: say in tests/arrows.py what it may import"
    targets -= {part} | ({"__version__"} if part in ("demo", "cli", "storage", "report") else set())
    assert targets <= allowed(part), f"{part} may not import {sorted(targets - allowed(part))}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_knows_no_chip(path):
    """neurorobust ← chipmodels, never back: chips are found through the entry point neurorobust.chips."""
    assert not any(name.split(".")[0] == "chipmodels" for name in imports_of(path, package_of(path)))


def test_the_reader_sees_every_form_of_import(tmp_path):
    """The reader itself, on each way to write an import, in a function too."""
    path = tmp_path / "x.py"
    path.write_text("import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    from neurorobust.g import h as i\n")
    assert imports_of(path, "neurorobust.p") == {"a.b", "neurorobust.p.c", "neurorobust.d.e", "neurorobust.g.h"}


@pytest.mark.parametrize("name", ["neurorobust", *(m.name for m in pkgutil.walk_packages([str(ROOT)], "neurorobust."))])
def test_all_names_resolve(name):
    """Every module imports, and every name in its __all__ exists, once each."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    assert [entry for entry in listed if not hasattr(module, entry)] == []
