"""The interface of a tool: one small class per library."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .workloads import ATTACK_STEPS, BETA, KERNELS, POOL, RADIUS, ImageWorkload, Params, Workload


class CannotError(Exception):
    """A workload that a tool has no way of doing; the message says in one line why."""


@dataclass(frozen=True)
class Run:
    """One workload, ready in one tool.

    Attributes:
        step: what is timed.
        logits: its network's output before any training, (B, n_out), or (chips, B, n_out) of a fleet.
    """

    step: Callable[[], object]
    logits: Callable[[], Tensor]


class Tool(ABC):
    """A library on our workloads. The docstring of a subclass says where its neuron differs from ours.

    Attributes:
        reset: name of the reset in ``neurorobust.nn`` that its neurons have; with it ours has to give its output.
        convolves: whether it has the network of convolutions.
    """

    reset: str
    convolves = False

    def prepare(self, work: Workload) -> Run:
        """The workload's job."""
        if isinstance(work, ImageWorkload) and not self.convolves:
            raise CannotError("a network of convolutions is not written for it")
        jobs = {"training_step": self.training_step, "adversarial_step": self.adversarial_step, "fleet": self.fleet}
        return jobs[work.job](work)

    @abstractmethod
    def training_step(self, work: Workload) -> Run:
        """Forward, cross-entropy of the read-out's mean over time, backward to all trained parameters."""

    @abstractmethod
    def adversarial_step(self, work: Workload) -> Run:
        """The same with the paper's loss (arXiv 2106.05009): ten attack steps on every parameter, the robust step."""

    @abstractmethod
    def fleet(self, work: Workload) -> Run:
        """The logits of every die in ``work.dies``, without gradient."""


class TorchTool(Tool):
    """A torch library: a module, and what our parameters are in it."""

    @abstractmethod
    def network(self, work: Workload) -> nn.Module:
        """A module from (B, T, n_in) to logits (B, n_out), whatever its weights."""

    @abstractmethod
    def tensors(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The module's parameters and buffers, by name, that mean these numbers; differentiable."""

    def loaded(self, work: Workload) -> nn.Module:
        """The workload's network at its nominal parameters."""
        module = self.network(work)
        own = dict(module.named_parameters()) | dict(module.named_buffers())
        with torch.no_grad():
            for name, value in self.tensors(work.params).items():
                own[name].copy_(value)
        if not work.recurrent:
            for parameter in module.parameters():
                parameter.requires_grad_(parameter.ndim >= 2)
        return module

    def training_step(self, work: Workload) -> Run:
        module = self.loaded(work)

        def step() -> None:
            module.zero_grad(set_to_none=True)
            functional.cross_entropy(module(work.x), work.y).backward()

        return Run(step, lambda: module(work.x))

    def adversarial_step(self, work: Workload) -> Run:
        module = self.loaded(work)
        params = {name: value.clone().requires_grad_() for name, value in work.params.items()}

        def logits(params: Mapping[str, Tensor]) -> Tensor:
            return torch.func.functional_call(module, self.tensors(params), (work.x,))

        def step() -> None:
            for value in params.values():
                value.grad = None
            adversarial_loss(logits, params, work.y).backward()

        return Run(step, lambda: module(work.x))

    def fleet(self, work: Workload) -> Run:
        module = self.loaded(work)

        @torch.no_grad()
        def logits() -> Tensor:
            return torch.stack([torch.func.functional_call(module, self.tensors(die), (work.x,)) for die in work.dies])

        return Run(logits, logits)


def adversarial_loss(logits: Callable[[Params], Tensor], params: Params, y: Tensor) -> Tensor:
    """The paper's loss as one writes it by hand: cross-entropy + β · KL to the worst die that ten steps find."""
    constant = {name: value.detach() for name, value in params.items()}
    clean = logits(params)
    target = clean.detach().log_softmax(-1)
    delta = {name: 1e-3 * torch.randn_like(value) for name, value in constant.items()}
    for _ in range(ATTACK_STEPS):
        leaves = {name: value.requires_grad_() for name, value in delta.items()}
        loss = _divergence(logits(_moved(constant, leaves)), target)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        delta = {
            name: (value.detach() + RADIUS / ATTACK_STEPS * gradient.sign()).clamp(-RADIUS, RADIUS)
            for (name, value), gradient in zip(leaves.items(), gradients)
        }
    robust = _divergence(logits(_moved(params, delta)), clean.log_softmax(-1))
    return functional.cross_entropy(clean, y) + BETA * robust


def _moved(params: Params, delta: Params) -> Params:
    return {
        name: value + value.abs() * delta[name] if name.endswith("weight") else value * delta[name].exp()
        for name, value in params.items()
    }


def _divergence(logits: Tensor, target: Tensor) -> Tensor:
    return functional.kl_div(logits.log_softmax(-1), target, reduction="batchmean", log_target=True)


def decay(tau: Tensor, dt: float) -> Tensor:
    """exp(−dt/τ)."""
    return torch.exp(-dt / tau)


class ImageLayers(nn.Module):
    """The layers with weights of the network of convolutions, as torch has them, and the pooling."""

    def __init__(self, work: ImageWorkload):
        super().__init__()
        self.image, (first, _, second, third) = work.image, work.shapes
        self.conv1 = nn.Conv2d(work.image[0], first[0], KERNELS[0], bias=False)
        self.conv2 = nn.Conv2d(first[0], second[0], KERNELS[1], bias=False)
        self.pool = nn.AvgPool2d(POOL)
        self.fc = nn.Linear(math.prod(third), work.sizes[2], bias=False)


def image_weights(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network of convolutions, by the names of a peer's modules."""
    names = {"conv1": "conv1.input.weight", "conv2": "conv2.input.1.weight", "fc": "readout.input.1.weight"}
    return {f"{own}.weight": params[name] for own, name in names.items()}


def unit_gain(params: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
    """The same network for neurons without our factor (1 − α): it moves into the rows of their weights."""
    folded = dict(params)
    for name, value in params.items():
        if name.endswith("weight"):
            gain = 1 - decay(params[f"{name.split('.')[0]}.tau_mem"], dt)
            folded[name] = value * (gain[:, None] if gain.ndim else gain)
    return folded
