"""A chip model as one file of Python, as those in ``chipmodels`` are: written from a model, and read again."""

from __future__ import annotations

import math
import runpy
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from .._util import files
from .._util.errors import reason
from .model import ChipModel

WIDTH = 116
PUBLIC = "neurorobust.chip"


def source(chip: ChipModel) -> str:
    """The Python source of a chip model: imports, and ``chip = ChipModel(…)`` without what is a default.

    Raises:
        TypeError: a part of the model that no file can import, such as a law defined in a notebook.
    """
    imports: dict[str, str] = {}
    code = _code(chip, "chip", imports)
    by_module: dict[str, list[str]] = {}
    for name, module in sorted(imports.items()):
        by_module.setdefault(module, []).append(name)
    lines = [f"from {module} import {', '.join(names)}" for module, names in sorted(by_module.items())]
    title = chip.title.replace("\\", "\\\\").replace('"', "'")
    return "\n".join([f'"""{title}"""', "", *lines, "", f"chip = {code}", ""])


def save(chip: ChipModel, path: str | Path) -> Path:
    """Write a chip model as one Python file, whole or not at all. ``chipmodels.load("mine.py")`` reads it; edit it as
    you like.

    Raises:
        TypeError: no chip model, or a part that no file can import. ValueError: the name does not end in ``.py``.

    Example:
        >>> import chipmodels, tempfile
        >>> from pathlib import Path
        >>> path = chipmodels.save(nr.mismatch(0.2), Path(tempfile.mkdtemp()) / "mine.py")
        >>> chipmodels.load(str(path)) == nr.mismatch(0.2)
        True
    """
    if not isinstance(chip, ChipModel):
        raise TypeError(f"chip: got a {type(chip).__name__}; expected a ChipModel, such as fit_chip returns.")
    path = Path(path)
    if path.suffix != ".py":
        raise ValueError(f"path: got {str(path)!r}; expected a Python file, such as 'mine.py'.")
    text = source(chip)
    files.write_text(path, text)
    return path


def read(path: str | Path) -> ChipModel:
    """The ``ChipModel`` named ``chip`` of a Python file. The file is run: read only files that you trust.

    Raises:
        FileNotFoundError: there is none. ValueError: it cannot be run, or holds no chip model of that name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"chip: there is no file {str(path)!r}; chipmodels.save(model, path) writes one.")
    try:
        found = runpy.run_path(str(path)).get("chip")
    except (Exception, SystemExit) as error:
        raise ValueError(f"chip: {str(path)!r} cannot be run ({type(error).__name__}: {reason(error)}).") from error
    if not isinstance(found, ChipModel):
        raise ValueError(f"chip: {str(path)!r} has no ChipModel named 'chip'; expected a line 'chip = ChipModel(…)'.")
    return found


def _code(value: Any, where: str, imports: dict[str, str], indent: int = 0) -> str:
    """Python code of a value; notes the classes that it needs."""
    if is_dataclass(value) and not isinstance(value, type):
        _import(type(value), where, imports)
        given = [field for field in fields(value) if field.init and _differs(getattr(value, field.name), field)]
        parts = [
            f"{field.name}={_code(getattr(value, field.name), f'{where}.{field.name}', imports, indent + 4)}"
            for field in given
        ]
        return _joined(f"{type(value).__name__}(", parts, ")", indent)
    if isinstance(value, Mapping):
        parts = [f"{key!r}: {_code(inner, f'{where}[{key!r}]', imports, indent + 4)}" for key, inner in value.items()]
        return _joined("{", parts, "}", indent)
    if isinstance(value, tuple):
        parts = [_code(inner, f"{where}[{i}]", imports, indent + 4) for i, inner in enumerate(value)]
        return _joined("(", parts, ",)" if len(parts) == 1 else ")", indent)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    raise TypeError(f"{where}: got a {type(value).__name__}; a chip file holds numbers, text and parts of a model.")


def _import(kind: type, where: str, imports: dict[str, str]) -> None:
    import neurorobust.chip as public

    module = PUBLIC if getattr(public, kind.__name__, None) is kind else kind.__module__
    if module == "__main__" or "." in kind.__qualname__:
        raise TypeError(
            f"{where}: {kind.__qualname__} cannot be imported; define it at the top of a module of its own."
        )
    if imports.setdefault(kind.__name__, module) != module:
        raise TypeError(f"{where}: two classes are named {kind.__name__}; rename one of them.")


def _differs(value: Any, field: Field) -> bool:
    """True unless a field has its default."""
    if field.default is not MISSING:
        return bool(value != field.default)
    return field.default_factory is MISSING or bool(value != field.default_factory())


def _joined(start: str, parts: list[str], end: str, indent: int) -> str:
    """On one line if it fits, else one line for each part."""
    line = start + ", ".join(parts) + end
    if indent + len(line) <= WIDTH and "\n" not in line:
        return line
    inner = " " * (indent + 4)
    return start + "\n" + "".join(f"{inner}{part},\n" for part in parts) + " " * indent + end[-1]
