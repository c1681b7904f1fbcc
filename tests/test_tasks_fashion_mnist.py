"""Fashion-MNIST: IDX files written by hand, the parts, and the paper's network against its formula."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurorobust._util.randomness import generator
from neurorobust.data.tasks import fashion_mnist as make
from neurorobust.data.tasks import fashion_mnist_spiking
from neurorobust.data.tasks.fashion_mnist import FOLDER, cnn, normalise, read_idx, read_images, split
from neurorobust.data.tasks.fashion_mnist_spiking import build as spiking_build


def write_idx(path, array):
    """A gzipped IDX file of unsigned bytes."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 1))


def numbered(n, first):
    """Images that carry their number in their first three bytes."""
    images = np.zeros((n, 28, 28), dtype=np.uint8)
    number = np.arange(n) + first
    images[:, 0, 0], images[:, 0, 1], images[:, 0, 2] = number % 256, number // 256 % 256, number // 65536
    return images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of the right size: image i says i, its class is i modulo 10."""
    path: Path = tmp_path_factory.mktemp("fashion")
    for part, n, first in (("train", 60_000, 0), ("t10k", 10_000, 60_000)):
        write_idx(path / f"{part}-images-idx3-ubyte.gz", numbered(n, first))
        write_idx(path / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) + first) % 10)
    return path


@pytest.fixture(scope="module")
def task(folder):
    return make(folder)


def numbers(x):
    """The numbers that :func:`numbered` wrote, from normalised images."""
    pixels = ((x[:, 0, 0, :3] * 0.25 + 0.5) * 255).round().long()
    return pixels[:, 0] + 256 * pixels[:, 1] + 65536 * pixels[:, 2]


def test_parts_are_disjoint_and_labels_follow_their_images(task):
    """54000/6000/10000 images, none twice, test the official part, each with its own label."""
    train, validation, test = (numbers(data.x) for data in (task.train, task.validation, task.test))
    assert (len(train), len(validation), len(test)) == (54_000, 6_000, 10_000)
    assert torch.equal(test, torch.arange(60_000, 70_000))
    assert torch.cat([train, validation]).sort().values.equal(torch.arange(60_000))
    for data in (task.train, task.validation, task.test):
        assert torch.equal(data.y, numbers(data.x) % 10)


def test_fewer_training_images_are_the_first(folder, task):
    """n_train keeps the first images of the training part and all others, and changes the fingerprint; more than there
    are is refused."""
    fewer = make(folder, n_train=100)
    assert torch.equal(fewer.train.x, task.train.x[:100]) and torch.equal(fewer.test.y, task.test.y)
    assert fewer.fingerprint != task.fingerprint
    with pytest.raises(ValueError, match="n_train: got 54001; expected at most 54000"):
        make(folder, n_train=54_001)


def test_split_does_not_depend_on_global_generators():
    """The same parts whatever numpy's global generator holds."""
    np.random.seed(0)
    one = split()
    np.random.seed(1)
    assert all(torch.equal(a, b) for a, b in zip(one, split(), strict=True))


def test_normalise_by_hand():
    """0 → −2, 255 → 2, 51 (brightness 0.2) → −1.2; a channel axis is added."""
    x = normalise(torch.tensor([[[0, 255, 51]]], dtype=torch.uint8))
    assert x.shape == (1, 1, 1, 3)
    torch.testing.assert_close(x.flatten(), torch.tensor([-2.0, 2.0, -1.2]))


def test_idx_is_read_as_it_was_written(tmp_path):
    """Three dimensions and one come back byte by byte."""
    for shape in ((2, 3, 4), (5,)):
        array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        write_idx(tmp_path / "x.gz", array)
        assert np.array_equal(read_idx(tmp_path / "x.gz", len(shape)), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes([0, 0, 13, 1]) + struct.pack(">I", 4) + bytes(4), "got header 00 00 0d 01; expected 00 00 08 01"),
        (bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 2) + bytes(4), "got header 00 00 08 02"),
        (bytes([0, 0, 8]), "got header 00 00 08; expected"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes(3), "got 3 bytes; expected 4"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes(5), "got more bytes; expected 4"),
        (bytes([0, 0, 8, 1]) + struct.pack(">I", 2**32 - 1) + bytes(3), "its archive may hold at most [0-9]* bytes"),
    ],
)
def test_wrong_idx_files_are_refused(tmp_path, content, message):
    """Another type, another number of dimensions, too few and too many bytes, and a size that lies."""
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "x.gz", 1)


def test_damaged_archives_are_refused(tmp_path):
    """Cut off, changed, or no gzip at all."""
    write_idx(tmp_path / "x.gz", np.random.default_rng(0).integers(0, 256, 1000))
    whole = (tmp_path / "x.gz").read_bytes()
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 255
    for content in (whole[:-200], bytes(spoiled), b"no archive at all"):
        (tmp_path / "x.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"x.gz: the archive is damaged or cut off"):
            read_idx(tmp_path / "x.gz", 1)


def test_missing_data_name_the_command(tmp_path):
    """An empty folder: the file, the folder and the command that installs the data."""
    with pytest.raises(FileNotFoundError, match=r"train-images.* is not in .*apt-get install dataset-fashion-mnist"):
        read_images(tmp_path)


def test_another_data_set_is_refused(folder, tmp_path):
    """Images without their labels, and a class 10."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    for wrong in (np.zeros(9_999), np.full(10_000, 10)):
        labels.unlink()
        write_idx(labels, wrong)
        with pytest.raises(ValueError, match=r"Fashion-MNIST, t10k: got .* up to (0|10); expected"):
            read_images(tmp_path)


def test_network_is_the_papers():
    """Logits equal the paper's formula, TensorFlow's "same" padding written out, in float64."""
    network = cnn(torch.Generator().manual_seed(0)).double()
    p = dict(network.named_parameters())
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    padded = torch.zeros(3, 1, 31, 31, dtype=torch.float64)
    padded[:, :, 1:29, 1:29] = x
    patches = padded.unfold(2, 4, 1).unfold(3, 4, 1)
    one = torch.einsum("bcijkl,ockl->boij", patches, p["conv1.weight"]) + p["conv1.bias"][:, None, None]
    one = one.relu().reshape(3, 64, 14, 2, 14, 2).amax((3, 5))
    patches = one.unfold(2, 4, 1).unfold(3, 4, 1)
    two = torch.einsum("bcijkl,ockl->boij", patches, p["conv2.weight"]) + p["conv2.bias"][:, None, None]
    two = two.relu()[:, :, :10, :10].reshape(3, 64, 5, 2, 5, 2).amax((3, 5)).reshape(3, 1600)
    for name in ("dense1", "dense2", "dense3"):
        two = two @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        two = two if name == "dense3" else two.relu()
    torch.testing.assert_close(network(x), two, rtol=1e-12, atol=1e-12)


def test_padding_is_torchs_same():
    """Padding by hand equals padding="same", without the warning that torch gives for even kernels."""
    network = cnn(torch.Generator().manual_seed(0))
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with pytest.warns(UserWarning, match="even kernel"):
        expected = functional.conv2d(x, network.conv1.weight, network.conv1.bias, padding="same")
    torch.testing.assert_close(network.conv1(network.pad(x)), expected)


def test_initial_weights_are_uniform_and_keyed():
    """Each layer fills ±1/√fan-in (sd 1/√(3 · fan-in) to 5 %, 70 σ of 409600 draws); same seed, same bits,
    and the global generator neither matters nor moves."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = (cnn(torch.Generator().manual_seed(7)).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    for layer, fan_in in (("conv1", 16), ("conv2", 1024), ("dense1", 1600), ("dense2", 256), ("dense3", 64)):
        for kind in ("weight", "bias"):
            assert one[f"{layer}.{kind}"].abs().max() <= fan_in**-0.5
    assert one["dense1.weight"].std().item() == pytest.approx((3 * 1600) ** -0.5, rel=0.05)
    assert sum(value.numel() for value in one.values()) == 1088 + 65_600 + 409_856 + 16_448 + 650


def test_the_task_network_is_the_wrapped_cnn(task):
    """Names end in their kinds, logits are those of the plain network of the same generator; a chip without cores, such
    as mismatch alone, changes nothing."""
    plain = cnn(generator(3, "network"))
    for chip in (None, SimpleNamespace(name="mismatch", limits=SimpleNamespace(cores=None))):
        network = task.network(chip, n_hidden=7, seed=3)
        assert dict(network.named_parameters()).keys() == dict(plain.named_parameters()).keys()
        logits, outputs = network(task.test.x[:2])
        assert torch.equal(logits, plain(task.test.x[:2])) and outputs == {}


def test_a_chip_of_spiking_neurons_is_refused(task):
    """The network has no neurons to place on cores; the error names the chip."""
    with pytest.raises(ValueError, match="chip: c4 holds cores of spiking neurons"):
        task.network(SimpleNamespace(name="c4", limits=SimpleNamespace(cores=4)))


def test_the_spiking_network_sees_the_first_images_for_eight_steps(folder, task):
    """8000/1000/1000 images, the first of each part, brightness in [0, 1], the same in every step."""
    spiking = fashion_mnist_spiking(folder)
    pairs = ((spiking.train, task.train), (spiking.validation, task.validation), (spiking.test, task.test))
    for (few, all_), n in zip(pairs, (8000, 1000, 1000), strict=True):
        assert few.x.shape == (n, 8, 784) and torch.equal(few.y, all_.y[:n])
        brightness = all_.x[:n].flatten(1) * 0.25 + 0.5
        assert torch.equal(few.x[:, 0], few.x[:, 7])
        torch.testing.assert_close(few.x[:, 3], brightness, rtol=0, atol=1e-6)


def test_the_first_spikes_of_the_spiking_network_are_those_of_its_formula(folder):
    """Step 1: a neuron spikes where (1 − exp(−5/20)) · convolution > 0.5; layers of 16 × 12², 32 × 4² and 10."""
    network = spiking_build(None, 1, generator(0, "test"))
    x = torch.rand(3, 8, 784, generator=generator(0, "images"))
    logits, spikes = network(x)
    weight, bias = network.conv1.input.weight, network.conv1.input.bias
    current = functional.conv2d(x[:, 0].reshape(3, 1, 28, 28), weight, bias, stride=2).flatten(1)
    assert torch.equal(spikes["conv1"][0] > 0, (1 - math.exp(-0.25)) * current > 0.5)
    assert spikes["conv1"].shape == (8, 3, 16 * 12**2) and spikes["conv2"].shape == (8, 3, 32 * 4**2)
    assert logits.shape == (3, 10) and spikes["conv1"].mean() > 0.01


@pytest.mark.skipif(not FOLDER.is_dir(), reason="Fashion-MNIST is not installed")
def test_the_real_data_are_balanced():
    """7000 images of each of ten classes, 1000 of each in the official test part; mean brightness 0.286."""
    images, y = read_images()
    assert y.bincount().tolist() == [7000] * 10 and y[60_000:].bincount().tolist() == [1000] * 10
    assert images[:60_000].sum().item() / (255 * 60_000 * 784) == pytest.approx(0.2860, abs=1e-4)
