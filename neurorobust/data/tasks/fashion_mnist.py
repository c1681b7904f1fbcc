"""Images of clothes: Fashion-MNIST, and the paper's convolutional network."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from ..._util.errors import check_count
from ...chip import ChipModel
from ...interop import wrap
from ..samples import Data
from ..task import Task

FOLDER = Path("/usr/share/datasets/fashion-mnist")
INSTALL = "apt-get install dataset-fashion-mnist"
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MOST, FREE = 10, 2**28  # a file may ask for so many times its size and so many bytes more
N_TRAIN, N_VALIDATION, N_TEST = 54_000, 6_000, 10_000


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes: magic 0 0 8 ndim, ndim sizes as big-endian 32-bit integers, the bytes.

    Raises:
        ValueError: another magic number, too few or too many bytes, or a damaged archive.
    """
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * ndim)
            if len(header) < 4 + 4 * ndim or header[:4] != bytes([0, 0, 8, ndim]):
                raise ValueError(
                    f"{path.name}: got header {header[:4].hex(' ')}; expected 00 00 08 {ndim:02x}, unsigned bytes in "
                    f"{ndim} dimensions."
                )
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
            if math.prod(shape) > (most := MOST * path.stat().st_size + FREE):
                raise ValueError(f"{path.name}: has shape {shape}; its archive may hold at most {most} bytes.")
            content = file.read(math.prod(shape) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error, OverflowError) as error:
        raise ValueError(f"{path.name}: the archive is damaged or cut off ({error}); get it again.") from error
    if len(content) != math.prod(shape):
        more = "more" if len(content) > math.prod(shape) else str(len(content))
        raise ValueError(f"{path.name}: got {more} bytes; expected {math.prod(shape)} for shape {shape}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_images(folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """All 70000 images, the 60000 for training first: bytes (70000, 28, 28), and classes 0–9 (70000,).

    Args:
        folder: holds the four ``*-ubyte.gz`` files; by default that of the Debian package.

    Raises:
        FileNotFoundError, ValueError: missing or damaged; the message gives the command that installs the data.
    """
    folder = FOLDER if folder is None else Path(folder)
    images, labels = [], []
    for part, n in (("train", N_TRAIN + N_VALIDATION), ("t10k", N_TEST)):
        paths = folder / f"{part}-images-idx3-ubyte.gz", folder / f"{part}-labels-idx1-ubyte.gz"
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(
                    f"Fashion-MNIST: {path.name} is not in {str(folder)!r}; install it with: {INSTALL}, or name a "
                    f"folder that holds the four *-ubyte.gz files."
                )
        x, y = read_idx(paths[0], 3), read_idx(paths[1], 1)
        if x.shape != (n, 28, 28) or y.shape != (n,) or y.max() > 9:
            raise ValueError(
                f"Fashion-MNIST, {part}: got images {x.shape}, labels {y.shape} up to {y.max()}; expected ({n}, 28, "
                f"28), ({n},) and labels up to 9; install it again with: {INSTALL}"
            )
        images.append(x)
        labels.append(y)
    return torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels).astype(np.int64))


def split() -> tuple[Tensor, Tensor, Tensor]:
    """Indices of train (54000), validation (6000) and test (10000, the official part); independent of the seed."""
    order = np.random.Generator(np.random.Philox(60_000)).permutation(N_TRAIN + N_VALIDATION)
    train, validation = np.split(order, [N_TRAIN])
    return torch.from_numpy(train), torch.from_numpy(validation), torch.arange(N_TEST) + N_TRAIN + N_VALIDATION


def normalise(images: Tensor) -> Tensor:
    """Bytes (n, 28, 28) → (brightness − 0.5)/0.25, brightness in [0, 1], shape (n, 1, 28, 28)."""
    return images[:, None].float().div_(255).sub_(0.5).div_(0.25)


def cnn(generator: torch.Generator) -> nn.Sequential:
    """The paper's network (arXiv 2106.05009): images (B, 1, 28, 28) → logits (B, 10).

    conv 64 4×4 same – ReLU – max-pool 2 – conv 64 4×4 – ReLU – max-pool 2 – dense 1600-256-64-10 with ReLUs between.
    Initial weights and biases are torch's default, uniform in ±1/√fan-in, drawn from the generator.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pad=nn.ZeroPad2d((1, 2, 1, 2)),  # "same" padding for a 4×4 kernel
        conv1=skip_init(nn.Conv2d, 1, 64, 4),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=skip_init(nn.Conv2d, 64, 64, 4),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        dense1=skip_init(nn.Linear, 1600, 256),
        relu3=nn.ReLU(),
        dense2=skip_init(nn.Linear, 256, 64),
        relu4=nn.ReLU(),
        dense3=skip_init(nn.Linear, 64, 10),
    )
    network = nn.Sequential(layers)
    with torch.no_grad():
        for layer in network:
            fan_in = sum(value[0].numel() for value in layer.parameters() if value.ndim > 1)
            for value in layer.parameters():
                value.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return network


def build(chip: ChipModel | None, n_hidden: int, generator: torch.Generator) -> nn.Module:
    """The paper's network, wrapped; its sizes are fixed, so ``n_hidden`` changes nothing."""
    if chip is not None and chip.limits.cores is not None:
        raise ValueError(
            f"chip: {chip.name} holds cores of spiking neurons, and this network has none; build it for the chip "
            f"'ideal' (--chip ideal) or for none, then use mismatch and attacks."
        )
    return wrap(cnn(generator))


def fashion_mnist(folder: Path | None = None, *, n_train: int | None = None, seed: int = 0) -> Task:
    """Fashion-MNIST: which of ten kinds of clothes is in a 28 × 28 image?

    54000 images to train on, 6000 to validate, 10000 (the official part) to test, the same for every seed;
    220 MB of memory.

    Args:
        folder: see :func:`read_images`.
        n_train: number of training images to keep, from the first; all by default.
        seed: not used, because nothing is drawn; every task function takes one.

    Raises:
        FileNotFoundError: no images; the message gives the command that installs them. ValueError: ``n_train`` below 1
            or above 54000.
    """
    images, y = read_images(folder)
    train, validation, test = split()
    if n_train is not None:
        if check_count("n_train", n_train) > N_TRAIN:
            raise ValueError(f"n_train: got {n_train}; expected at most {N_TRAIN}, the size of the training part.")
        train = train[:n_train]
    return task_of(images, y, (train, validation, test), f"{n_train}")


def example() -> Task:
    """The task of 40 images of noise, for the contract tests."""
    return task_of(*noise_images(), torch.arange(40).split([20, 10, 10]), "example")


def noise_images() -> tuple[Tensor, Tensor]:
    """40 images of noise, in the form of :func:`read_images`."""
    pixels = np.random.Generator(np.random.Philox(0)).integers(256, size=(40, 28, 28), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.arange(40) % 10


def task_of(images: Tensor, y: Tensor, indices: Sequence[Tensor], key: str) -> Task:
    """Images and their classes in three parts; ``key`` goes into the fingerprint."""
    train, validation, test = indices
    return Task(
        name="fashion_mnist",
        classes=CLASSES,
        train=Data(normalise(images[train]), y[train]),
        validation=Data(normalise(images[validation]), y[validation]),
        test=Data(normalise(images[test]), y[test]),
        loss=functional.cross_entropy,
        build=build,
        fingerprint=hashlib.sha256(images.numpy().tobytes() + y.numpy().tobytes() + key.encode()).hexdigest(),
    )
