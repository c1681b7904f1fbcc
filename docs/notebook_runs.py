"""Execute a tutorial in a kernel; keep what a reader needs of the result."""

from __future__ import annotations

import base64
import copy
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

ROOT = Path(__file__).parent.parent
SECONDS = {True: 300, False: 1200}
"""The longest time of one cell, in the small and in the full size."""
LARGEST = 250_000
"""Bytes of an executed notebook."""
THUMBNAIL = 40_000
"""Bytes of the picture of the gallery."""
BOX = (480, 320)
"""Its size in pixels."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(name: str, notebook: NotebookNode, small: bool, say: Callable[[str], None]) -> NotebookNode:
    """Execute all cells in a new kernel, in an empty folder, and return the notebook with its outputs.

    The kernel is this Python, finds this repository first, and uses one thread of OpenMP in the small size.

    Args:
        name: of the tutorial, for messages. small: the sizes of the tests. say: takes a line about each cell.

    Raises:
        ValueError: a cell failed or took too long, wrote to stderr, or shows a path of this machine.
    """
    done = copy.deepcopy(notebook)
    total = len(done.cells)
    with tempfile.TemporaryDirectory(prefix="tutorial-") as text, _surroundings(Path(text), small):
        work = Path(text) / "work"
        work.mkdir()
        client = NotebookClient(
            done,
            timeout=SECONDS[small],
            startup_timeout=120,
            kernel_name="python3",
            record_timing=False,
            # Sockets in this folder, and no port of the machine.
            config=Config({"KernelManager": {"transport": "ipc", "connection_file": f"{text}/kernel.json"}}),
            resources={"metadata": {"path": str(work)}},
            on_cell_start=lambda cell, cell_index: say(f"cell {cell_index + 1} of {total}"),
        )
        try:
            client.execute()
        except CellTimeoutError as error:
            raise ValueError(f"{name}: a cell took more than {SECONDS[small]} s: {_first_line(error)}") from error
        except (RuntimeError, AssertionError) as error:  # also of nbclient itself, where the run was interrupted
            raise ValueError(f"{name}: the kernel did not start, or ended. {error}") from error
        except CellExecutionError as error:
            raise ValueError(f"{name}: {COLOUR.sub('', str(error)).strip()}") from error
        return cleaned(name, done, (f"{work}/", f"{text}/", f"{ROOT}/"))


@contextmanager
def _surroundings(folder: Path, small: bool) -> Iterator[None]:
    """Environment variables of the kernel: no settings of this user, this repository, the wanted size."""
    places = {"IPYTHONDIR": "ipython", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data"}
    places |= {"JUPYTER_RUNTIME_DIR": "runtime", "MPLCONFIGDIR": "matplotlib", "TMPDIR": "tmp"}
    if not os.access(Path.home(), os.W_OK):
        places["HOME"] = "home"
    for place in places.values():
        (folder / place).mkdir()
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    values = {
        **{key: str(folder / place) for key, place in places.items()},
        "PYTHONPATH": os.pathsep.join(paths),
        "NEUROROBUST_TUTORIAL": "small" if small else "",
        "NEUROROBUST_PROGRESS": "off",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_PATH": "",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin make small layers slow on a busy machine
        **({"OMP_NUM_THREADS": "1"} if small else {}),
    }
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


# ---- what is kept


def cleaned(name: str, notebook: NotebookNode, folders: tuple[str, ...]) -> NotebookNode:
    """Without times, versions and folders of this machine.

    Raises:
        ValueError: a cell wrote to stderr, or shows another path of this machine.
    """
    done = copy.deepcopy(notebook)
    done.metadata.pop("language_info", None)
    for number, cell in enumerate(done.cells, start=1):
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(
                    f"{name}: cell {number} wrote to stderr: {output.text.strip()[:500]!r}; a tutorial shows no "
                    f"warning and no progress bar."
                )
            for holder, key in _texts(output):
                holder[key] = _without(holder[key], folders)
                for private in (str(ROOT), sys.prefix, str(Path.home())):
                    if len(private) > 1 and re.search(rf"{re.escape(private)}(?![\w-])", holder[key]):
                        raise ValueError(f"{name}: cell {number} shows the path {private}; show the file's name only.")
    return done


def _texts(output: NotebookNode) -> Iterator[tuple[dict[str, Any], str]]:
    """The places of an output that hold text, not pictures."""
    if output.output_type == "stream":
        yield output, "text"
    for kind in output.get("data", {}):
        if kind.startswith("text/"):
            yield output.data, kind


def _without(text: str, folders: tuple[str, ...]) -> str:
    for folder in folders:
        text = text.replace(folder, "").replace(folder.rstrip("/"), ".")
    return text


def with_outputs(notebook: NotebookNode, executed: Mapping[str, Any]) -> NotebookNode:
    """A notebook without outputs with those of an executed one, whose code cells are the same."""
    done = copy.deepcopy(notebook)
    results = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    for cell, result in zip([cell for cell in done.cells if cell.cell_type == "code"], results, strict=True):
        cell.outputs, cell.execution_count = result["outputs"], result["execution_count"]
    return done


def check_size(name: str, text: str) -> None:
    """Raise ValueError if an executed notebook is larger than the repository takes."""
    size = len(text.encode())
    if size > LARGEST:
        raise ValueError(
            f"{name}: the executed notebook has {size:,} bytes; at most {LARGEST:,}: lower the dpi of its figures, or "
            f"show fewer of them."
        )


# ---- pictures


def figure_of(name: str, notebook: NotebookNode) -> bytes:
    """The picture that the cell with the tag ``figure`` shows, as PNG."""
    cells = [cell for cell in notebook.cells if "figure" in cell.metadata.get("tags", [])]
    images = [
        output.data["image/png"] for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    if len(images) != 1:
        raise ValueError(f"{name}: the cell with the tag 'figure' shows {len(images)} pictures; expected one.")
    return base64.b64decode(images[0])


def write_thumbnail(name: str, notebook: NotebookNode, path: Path) -> None:
    """Write the tutorial's figure on a white ground of 480 × 320, in as many colours as 40 kB hold."""
    from neurorobust._util import files

    with Image.open(io.BytesIO(figure_of(name, notebook))) as opened:
        picture = Image.new("RGB", opened.size, "white")
        picture.paste(opened, mask=opened.getchannel("A") if "A" in opened.getbands() else None)
    picture.thumbnail(BOX, Image.Resampling.LANCZOS)
    card = Image.new("RGB", BOX, "white")
    card.paste(picture, ((BOX[0] - picture.width) // 2, (BOX[1] - picture.height) // 2))
    for colours in (256, 64, 16, 4):
        buffer = io.BytesIO()
        card.quantize(colours).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= THUMBNAIL:
            break
    with files.replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
