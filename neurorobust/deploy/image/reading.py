"""Reading an image file: every value is checked before anything is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..._util.errors import check_path
from ...circuit import DendriteType
from .. import sealed
from ..sealed import FileKind
from .image import FORMAT, Image
from .parts import Destination, Entry, ImageLayer, ImageNeuron, Input, Latches

IMAGE_FILE = FileKind(FORMAT, "image", "Image.save", "image.schema.json")


def load_image(path: str | Path) -> Image:
    """Read an image file that :meth:`Image.save` wrote.

    Raises:
        FileNotFoundError: there is no such file. ValueError, in one sentence: the file is larger than 32 MiB, no JSON,
            damaged, of a newer format, or says something that the device cannot do; see :meth:`Image.check`.

    Example:
        >>> import chipmodels, tempfile
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> image = nr.deploy.onto(network, chipmodels.load("dynapse2")).image()
        >>> path = image.save(tempfile.mkdtemp() + "/image.json")
        >>> nr.deploy.load_image(path) == image
        True
    """
    path = check_path("path", path)
    entry = sealed.read(path, IMAGE_FILE)
    try:
        image = _image(entry)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if broken := image.check():
        more = f" ({len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ValueError(f"{path}: {str(broken[0]).rstrip('.')}{more}.")
    return image


def schema() -> dict[str, Any]:
    """The JSON schema of an image file."""
    return sealed.schema_of(IMAGE_FILE)


def _image(entry: Mapping[str, Any]) -> Image:
    for core in entry["cores"]:
        if not core.isdecimal() or str(int(core)) != core:
            raise ValueError(f"cores: got {core!r}; expected the number of a core.")
    return Image(
        entry["device"],
        entry["chip"]["name"],
        entry["chip"]["version"],
        entry["deployment"],
        tuple(ImageLayer(**each) for each in entry["layers"]),
        entry["channels"],
        tuple(_neuron(each) for each in entry["neurons"]),
        tuple(Input(**each) for each in entry["inputs"]),
        {int(core): {name: float(value) for name, value in biases.items()} for core, biases in entry["cores"].items()},
    )


def _neuron(entry: Mapping[str, Any]) -> ImageNeuron:
    return ImageNeuron(
        entry["core"],
        entry["number"],
        Latches(**entry["latches"]),
        tuple(Entry(**each | {"dendrite": DendriteType[each["dendrite"]]}) for each in entry["cam"]),
        tuple(Destination(**each) for each in entry["sram"]),
    )
