"""``tutorials``: the notebooks that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._util import files
from .._util.console import err
from .._util.shipped import tutorial_files
from .shared import Json, write_json

order = 8
app = typer.Typer()


@app.command()
def tutorials(
    folder: Annotated[Path, typer.Argument(help="Where the copies go; made if it is missing.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Copy the tutorials into a folder, as notebooks and as Python files; a file that you changed is left alone.

    [bold]Example[/bold]

      neurorobust tutorials my-tutorials
    """
    copies = {folder / path.name: path.read_text(encoding="utf-8") for path in tutorial_files()}
    there = {path: path.read_bytes() for path in copies if path.exists()}
    if changed := [path for path, content in there.items() if content != copies[path].encode()]:
        raise ValueError(
            f"{changed[0]}: differs from the tutorial that would be copied there ({len(changed)} such files); move it "
            f"away, or name another folder. Nothing was written."
        )
    files.make_folder(folder)
    wanted = [path for path in copies if path not in there]
    for path in wanted:
        files.write_text(path, copies[path])
    if as_json:
        names = {"written": [path.name for path in wanted], "unchanged": [path.name for path in there]}
        write_json({"folder": str(folder), **names})
        return
    err.print(f"{folder}: {len(wanted)} files written, {len(there)} were there", markup=False, highlight=False)
