"""The workloads: what is computed, on which weights and which input. Nothing here knows a tool."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Params = dict[str, Tensor]

DT = 1e-3  # s
TAU_MEM = 20e-3  # s
TAU_SYN = 5e-3  # s: of neurons with a floor
INPUT_RATE = 0.05  # input spikes per channel and step
ATTACK_STEPS, RADIUS, BETA = 10, 0.1, 0.5  # W3: the paper's loss
SPREAD = 0.2  # W4: every weight, time constant and threshold × (1 + SPREAD · N(0, 1))
KERNELS, POOL = (5, 3), 2  # W7: windows of both convolutions, and of both poolings
ROWS = 64  # of a sparse weight that are drawn at once

Job = Literal["training_step", "adversarial_step", "fleet"]


@dataclass(frozen=True)
class Workload:
    """One network, one batch and what is done with them.

    Two layers. With ``recurrent``, hidden LIF neurons are connected to each other, each has a time constant and a
    threshold of its own that are trained, and the read-out is a leaky integrator. Without, both layers are LIF, their
    numbers are shared by the layer and constant, and only weights are trained. The logits are the read-out's mean over
    time.

    Attributes:
        job: what is timed, by the name of a method of :class:`.tool.Tool`. about: the same in words.
        sizes: n_in, n_hidden, n_out.
        steps, batch: T and B.
        recurrent: which of the two networks.
        gains: standard deviations of the weights times sqrt(fan-in) into the hidden layer, from itself and into the
            read-out; chosen for hidden neurons that spike in 5 % of the steps.
        chips: dies of a fleet.
        fan_in: how many inputs, and how many hidden neurons, each hidden neuron is connected to; None: all. Weights
            that are absent are 0.
        floored: whether ours has the chip's neuron, ``LinearizedDpi``, for hidden neurons; peers have a LIF neuron, and
            their output is compared with that of our LIF neuron.
    """

    job: Job
    about: str
    sizes: tuple[int, int, int]
    steps: int
    batch: int
    recurrent: bool
    gains: tuple[float, float, float]
    chips: int = 64
    fan_in: int | None = None
    floored: bool = False

    @cached_property
    def sources(self) -> Params:
        """The different inputs of each neuron, (n, fan_in), by the name of the weight; none where all are."""
        if self.fan_in is None:
            return {}
        draw = torch.Generator().manual_seed(2)
        inputs = {"hidden.input.weight": self.sizes[0], "hidden.recurrent.weight": self.sizes[1]}
        return {name: self._chosen(n, draw) for name, n in inputs.items()}

    def _chosen(self, n_in: int, draw: torch.Generator) -> Tensor:
        chosen = [torch.randperm(n_in, generator=draw)[: self.fan_in] for _ in range(self.sizes[1])]
        return torch.stack(chosen)

    @cached_property
    def masks(self) -> Params:
        """Which synapses exist, by the name of the weight, in its shape; none where all do."""
        return {
            name: torch.zeros(self.shape(name), dtype=torch.bool).scatter_(1, chosen, True)
            for name, chosen in self.sources.items()
        }

    def shape(self, name: str) -> tuple[int, int]:
        """(n, inputs) of a weight."""
        n_in, n_hidden, n_out = self.sizes
        return {
            "hidden.input.weight": (n_hidden, n_in),
            "hidden.recurrent.weight": (n_hidden, n_hidden),
            "readout.input.weight": (n_out, n_hidden),
        }[name]

    @cached_property
    def existing(self) -> Params:
        """:attr:`params`, but of weights with ``sources`` the existing ones alone, (n, fan_in)."""
        draw = torch.Generator().manual_seed(0)

        def weight(name: str, gain: float) -> Tensor:
            (n, n_in), chosen = self.shape(name), self.sources.get(name)
            if chosen is None:
                return torch.randn(n, n_in, generator=draw) * (gain / n_in**0.5)
            rows = [torch.randn(len(some), n_in, generator=draw).gather(1, some) for some in chosen.split(ROWS)]
            return torch.cat(rows) * (gain / chosen.shape[1] ** 0.5)

        hidden, readout = ((self.sizes[1],), (self.sizes[2],)) if self.recurrent else ((), ())
        params = {"hidden.input.weight": weight("hidden.input.weight", self.gains[0])}
        if self.recurrent:
            params["hidden.recurrent.weight"] = weight("hidden.recurrent.weight", self.gains[1])
        params |= {"hidden.tau_mem": torch.full(hidden, TAU_MEM), "hidden.v_threshold": torch.ones(hidden)}
        params |= {
            "readout.input.weight": weight("readout.input.weight", self.gains[2]),
            "readout.tau_mem": torch.full(readout, TAU_MEM),
        }
        if not self.recurrent:
            params["readout.v_threshold"] = torch.ones(readout)
        return params

    @cached_property
    def params(self) -> Params:
        """The numbers of the network by our names, float32, SI units; row = target in a weight."""
        return {
            name: torch.zeros(self.shape(name)).scatter_(1, self.sources[name], value)
            if name in self.sources
            else value
            for name, value in self.existing.items()
        }

    @cached_property
    def x(self) -> Tensor:
        """Binary input (B, T, n_in), float32."""
        draw = torch.Generator().manual_seed(1)
        return (torch.rand(self.batch, self.steps, self.sizes[0], generator=draw) < INPUT_RATE).float()

    @cached_property
    def y(self) -> Tensor:
        """Labels (B,)."""
        return torch.arange(self.batch) % self.sizes[2]

    @cached_property
    def dies(self) -> list[Params]:
        """The parameters of every chip: × (1 + 0.2 N(0, 1)), the deviate cut at ±4 so that nothing turns negative."""
        return [self._die(serial) for serial in range(self.chips)]

    def _die(self, serial: int) -> Params:
        draw = torch.Generator().manual_seed(1000 + serial)
        return {
            name: value * (1 + SPREAD * torch.randn(value.shape, generator=draw).clamp(-4, 4))
            for name, value in self.params.items()
        }


@dataclass(frozen=True)
class ImageWorkload(Workload):
    """A network of convolutions for images of an event camera, as is usual for N-MNIST (2 × 34 × 34): conv 5 × 5 –
    LIF – mean over 2 × 2 – conv 3 × 3 – LIF – mean over 2 × 2 – dense – LIF. Time constants and thresholds are shared
    by a layer and constant; only weights are trained.

    Attributes:
        image: C, H, W of the input. channels: of both convolutions.
    """

    image: tuple[int, int, int] = (2, 34, 34)
    channels: tuple[int, int] = (8, 16)

    @cached_property
    def shapes(self) -> list[tuple[int, int, int]]:
        """(C, H, W) of the spikes, and of their means, of both convolutions, in order."""
        found, (_, high, wide) = [], self.image
        for channels, kernel in zip(self.channels, KERNELS):
            high, wide = high - kernel + 1, wide - kernel + 1
            found.append((channels, high, wide))
            high, wide = high // POOL, wide // POOL
            found.append((channels, high, wide))
        return found

    @property
    def existing(self) -> Params:
        return self.params

    def _die(self, serial: int) -> Params:
        """Weights alone deviate: all neurons of a layer share their other numbers, and peers hold them as constants."""
        die = super()._die(serial)
        return {name: die[name] if name.endswith("weight") else value for name, value in self.params.items()}

    @cached_property
    def params(self) -> Params:
        """The numbers of the network by our names, float32, SI units."""
        draw = torch.Generator().manual_seed(0)
        (first, *_), _, _, (second, high, wide) = self.shapes
        shapes = {
            "conv1.input.weight": (first, self.image[0], KERNELS[0], KERNELS[0]),
            "conv2.input.1.weight": (second, first, KERNELS[1], KERNELS[1]),
            "readout.input.1.weight": (self.sizes[2], second * high * wide),
        }
        params: Params = {}
        for (name, shape), gain in zip(shapes.items(), self.gains):
            weight = torch.randn(shape, generator=draw)
            params[name] = weight * (gain / weight[0].numel() ** 0.5)
        for layer in ("conv1", "conv2", "readout"):
            params |= {f"{layer}.tau_mem": torch.tensor(TAU_MEM), f"{layer}.v_threshold": torch.tensor(1.0)}
        return params


FEED_FORWARD = Workload(
    job="training_step",
    about="training step, feed-forward 784-256-10 LIF, T 100, batch 128",
    sizes=(784, 256, 10),
    steps=100,
    batch=128,
    recurrent=False,
    gains=(45.0, 0.0, 30.0),
)
RECURRENT = Workload(
    job="training_step",
    about="training step, recurrent 64-256-10, T 200, batch 100",
    sizes=(64, 256, 10),
    steps=200,
    batch=100,
    recurrent=True,
    gains=(40.0, 15.0, 10.0),
)
ADVERSARIAL = replace(RECURRENT, job="adversarial_step", about="W2 adversarial: 10 attack steps on every parameter")
FLEET = replace(RECURRENT, job="fleet", about="W2's network on 64 chips, logits of 100 samples, no gradient")

WHOLE_CHIP = Workload(
    job="training_step",
    about="training step, a chip: 1024 recurrent neurons, each with 32 of 256 inputs and 32 others, T 100, batch 25",
    sizes=(256, 1024, 10),
    steps=100,
    batch=25,
    recurrent=True,
    gains=(40.0, 15.0, 10.0),
    fan_in=32,
    floored=True,
)
LARGE_CHIP = replace(WHOLE_CHIP, about="W5 with 4096 neurons", sizes=(256, 4096, 10))
CHIP_ADVERSARIAL = replace(
    WHOLE_CHIP, job="adversarial_step", about="W5 adversarial: 10 attack steps on every parameter"
)
CHIP_FLEET = replace(WHOLE_CHIP, job="fleet", about="W5's network on 64 chips, logits of 25 samples, no gradient")

IMAGES = ImageWorkload(
    job="training_step",
    about="training step, images 2 × 34 × 34: conv 8 5×5 – pool 2 – conv 16 3×3 – pool 2 – dense 10, all LIF, T 50, "
    "batch 32",
    sizes=(2 * 34 * 34, 8 * 30 * 30 + 16 * 13 * 13, 10),
    steps=50,
    batch=32,
    recurrent=False,
    gains=(33.6, 31.5, 60.0),
)
IMAGE_FLEET = replace(
    IMAGES, job="fleet", about="W7's network on 16 chips, logits of 32 samples, no gradient", chips=16
)

WORKLOADS = {
    "W1": FEED_FORWARD,
    "W2": RECURRENT,
    "W3": ADVERSARIAL,
    "W4": FLEET,
    "W5": WHOLE_CHIP,
    "W5-4096": LARGE_CHIP,
    "W7": IMAGES,
    "W8": CHIP_ADVERSARIAL,
    "W9": CHIP_FLEET,
    "W11": IMAGE_FLEET,
}
