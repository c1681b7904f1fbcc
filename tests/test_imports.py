"""The imports, read from the source, against the directions in arrows.py; imports for types count."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from arrows import ARROWS, LEAVES, allowed

import neurorobust

ROOT = Path(neurorobust.__file__).parent
FOLDERS = ("neurorobust", "chipmodels", "benchmarks", "docs")


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


def imported_modules(root: Path) -> dict[str, set[str]]:
    """Each module below some folders of ``root``, and those of them that it imports, for types too; a package that is
    imported for one of its modules counts as this module."""
    files = {}
    for path in (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def nearest(name: str) -> str:
        return name if name in files else name.rpartition(".")[0]

    return {
        name: {nearest(i) for i in imports_of(path, ".".join(path.relative_to(root).parts[:-1]))}
        & files.keys() - {name}
        for name, path in files.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, one after the other; empty if there is no such circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other():
    """No circle of imports in the package, the chip models, the benchmarks or the documentation."""
    graph = imported_modules(ROOT.parent)
    assert {name.split(".")[0] for name in graph} == set(FOLDERS)
    assert circle(graph) == []


def test_the_test_finds_a_circle_of_types(tmp_path):
    """Two modules, one of which imports the other for types only, are a circle."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "docs" / "a.py").write_text("from docs.b import B\n")
    (tmp_path / "docs" / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A\n"
    )
    assert set(circle(imported_modules(tmp_path))) == {"docs.a", "docs.b"}


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


def test_heavy_libraries_are_imported_on_first_use():
    """``import neurorobust`` loads no other library at all; building a network and a chip of one kind of deviation
    loads none that only figures, tables, files, the command line and other frameworks need."""
    heavy = ("numpy", "torch", "scipy", "numba", "pandas", "matplotlib", "h5py", "rich", "typer", "snntorch", "dask")
    light = "import sys, neurorobust as nr; before = [name for name in {0} if name in sys.modules]; "
    light += "nr.mismatch(0.1), nr.wrap, nr.evaluate; print(before, [name for name in {1} if name in sys.modules])"
    later = ("matplotlib", "pandas", "h5py", "typer", "snntorch", "dask", "sklearn", "scipy.stats", "scipy.signal")
    code = light.format(heavy, later)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[] []\n"


def test_short_names_come_from_where_type_checkers_look():
    """The names that the root imports on first use are those that it imports for types; ``dir`` shows them all."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level):
        found.setdefault((node.module or "").partition(".")[0], set()).update(alias.name for alias in node.names)
    parts = found.pop("")
    assert found == {part: set(names.split()) for part, names in neurorobust._NAMES.items()}
    assert parts <= set(neurorobust._PARTS.split()) <= set(ARROWS) - {"demo", "cli"}
    assert parts | set().union(*found.values()) == set(neurorobust.__all__)
    assert set(neurorobust.__all__) <= set(dir(neurorobust))
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        neurorobust.evalute  # noqa: B018


def test_the_house_is_tidy():
    """No file of Python above 600 lines anywhere, and walk-throughs for others import no private name."""
    files = [path for folder in (*FOLDERS, "tests") for path in (ROOT.parent / folder).rglob("*.py")]
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > 600} == {}
    page = (ROOT.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    assert re.findall(r"^(?:>>> )?(?:from|import) .*\b_\w+.*$", page, re.MULTILINE) == [
        "from __future__ import annotations"
    ] * page.count("from __future__")


def test_the_command_line_starts_without_the_compiler_of_loops():
    """numba takes tenths of a second to import; `--help` needs none of it."""
    code = "import sys, neurorobust.cli; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
