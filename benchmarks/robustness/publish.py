"""python -m benchmarks.robustness.publish docs/results: put the trained networks of the first seeds into the zoo."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from neurorobust._util import files
from neurorobust.io import zoo

from .plan import cells_of
from .study import Study, all_studies


def publish(out: Path, folder: Path = zoo.FOLDER, studies: Mapping[str, Study] | None = None) -> list[str]:
    """Copy the network of each study's first seed, whichever it is, into the zoo; returns their names there.

    Args:
        out: folder of all results. folder: the zoo. studies: all that are known by default.
    """
    names = []
    for study in (studies or all_studies()).values():
        for cell in cells_of(study, (), study.seeds[:1], out):
            shipped = study.shipped is None or cell.method in study.shipped
            if shipped and "training" in cell.read() and (cell.folder / "model.safetensors").exists():
                place = files.folder(folder / study.name / cell.method)
                for name in ("model.safetensors", "config.json"):
                    shutil.copy(cell.folder / name, place / name)
                names.append(f"{study.name}/{cell.method}")
    return names


if __name__ == "__main__":
    sys.stdout.write("\n".join(publish(Path(sys.argv[1]))) + "\n")
