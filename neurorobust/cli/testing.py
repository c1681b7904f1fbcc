"""``testing``: files with which a project tests the robustness of its networks."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .._util import files
from .._util.console import err
from .shared import Json, write_json

order = 7
app = typer.Typer(name="testing", help="Regression tests of robustness.", no_args_is_help=True)
PLACES = {
    "workflow.yml": Path(".github/workflows/robustness.yml"),
    "test_robustness.py.txt": Path("tests/test_robustness.py"),
}


@app.callback()
def _group() -> None:
    pass


@app.command("init")
def testing_init(
    folder: Annotated[Path, typer.Argument(help="The root of your project.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a workflow for GitHub Actions and a first test file into a project; existing files are left alone.

    [bold]Example[/bold]

      neurorobust testing init .
    """
    taken = [str(folder / place) for place in PLACES.values() if (folder / place).exists()]
    if taken:
        raise ValueError(f"{taken[0]}: exists already; move it away, or copy what you need from docs/testing.md.")
    for name, place in PLACES.items():
        text = resources.files("neurorobust.testing").joinpath("template", name).read_text(encoding="utf-8")
        path = folder / place
        files.make_folder(path.parent)
        files.write_text(path, text.replace("{version}", __version__))
        if not as_json:
            err.print(f"{path}: written", markup=False)
    if as_json:
        write_json({"written": [str(folder / place) for place in PLACES.values()]})
