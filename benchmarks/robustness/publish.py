"""Make results ready to commit: cells into the archive, networks of the first seeds into the zoo.

python -m benchmarks.robustness.publish    # of the committed results, or of the folder that is given
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from neurorobust._util import files
from neurorobust.io import zoo

from .archive import pack
from .cell import RESULTS
from .plan import cells_of
from .study import Study, all_studies


def publish(out: Path, folder: Path = zoo.FOLDER, studies: Mapping[str, Study] | None = None) -> list[str]:
    """Copy the networks of each study's first seed that the study ships into the zoo; returns their names there.

    Args:
        out: folder of all results. folder: the zoo. studies: all that are known by default.
    """
    names = []
    for study in (studies or all_studies()).values():
        for cell in cells_of(study, (), study.seeds[:1], out):
            if cell.method in study.shipped and (cell.folder / "model.safetensors").exists():
                place = files.make_folder(folder / study.name / cell.method)
                for name in ("model.safetensors", "config.json"):
                    with files.replacing(place / name) as temporary:
                        shutil.copy(cell.folder / name, temporary)
                names.append(f"{study.name}/{cell.method}")
    return names


if __name__ == "__main__":
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    sys.stdout.write("\n".join([*publish(results), f"{len(pack(results))} cells in the archive"]) + "\n")
