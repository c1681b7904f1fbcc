"""neurorobust on the workloads, by its public names."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

import neurorobust as nr
from neurorobust.core.params import SIGNED, kind_of
from neurorobust.nn import fleet_run, neurons
from neurorobust.nn.connections import AvgPool2d, Chain, Conv2d, Linear
from neurorobust.nn.sparse_linear import SparseLinear

from .tool import Run, Tool
from .workloads import ATTACK_STEPS, BETA, DT, POOL, RADIUS, TAU_SYN, ImageWorkload, Params, Workload


def network(work: Workload, reset: nr.nn.Reset | None = None) -> nr.Network:
    """The workload's network; with a reset, that of LIF neurons, what a peer computes."""
    if isinstance(work, ImageWorkload):
        return images(work, reset)
    p = work.existing

    def connection(name: str) -> Linear | SparseLinear:
        if (sources := work.sources.get(name)) is None:
            return Linear(p[name])
        targets = torch.arange(len(sources)).repeat_interleave(sources.shape[1])
        return SparseLinear.between(sources.flatten(), targets, p[name].flatten(), work.shape(name))

    def layer(name: str) -> neurons.Neuron:
        synapses = connection(f"{name}.input.weight")
        if f"{name}.v_threshold" not in p:
            return neurons.LeakyIntegrator(synapses, tau_mem=p[f"{name}.tau_mem"])
        tau_mem, v_threshold = p[f"{name}.tau_mem"], p[f"{name}.v_threshold"]
        recurrent = connection(f"{name}.recurrent.weight") if f"{name}.recurrent.weight" in p else None
        if work.floored and reset is None:
            synaptic = torch.full_like(tau_mem, TAU_SYN)
            return neurons.LinearizedDpi(
                synapses,
                recurrent=recurrent,
                tau_mem=tau_mem,
                tau_syn_exc=synaptic,
                tau_syn_inh=synaptic,
                v_threshold=v_threshold,
                r=DT / TAU_SYN,  # an event carries the charge that it has without a synapse
            )
        return neurons.Lif(synapses, recurrent=recurrent, tau_mem=tau_mem, v_threshold=v_threshold, reset=reset)

    net = nr.Network({name: layer(name) for name in ("hidden", "readout")}, DT)
    return net if work.recurrent else weights_alone(net)


def weights_alone(net: nr.Network) -> nr.Network:
    """The network, of which only weights are trained."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(kind_of(name) in SIGNED)
    return net


def images(work: ImageWorkload, reset: nr.nn.Reset | None) -> nr.Network:
    """The network of convolutions."""
    p, shapes = work.params, work.shapes
    inputs = {
        "conv1": Conv2d(p["conv1.input.weight"], work.image),
        "conv2": Chain(AvgPool2d(shapes[0], POOL), Conv2d(p["conv2.input.1.weight"], shapes[1])),
        "readout": Chain(AvgPool2d(shapes[2], POOL), Linear(p["readout.input.1.weight"])),
    }
    layers = {
        name: neurons.Lif(part, tau_mem=p[f"{name}.tau_mem"], v_threshold=p[f"{name}.v_threshold"], reset=reset)
        for name, part in inputs.items()
    }
    return weights_alone(nr.Network(layers, DT))


def fleet_logits(network: nr.Network, dies: Iterable[Params], x: Tensor) -> Tensor:
    """Logits of each die, (chips, B, n_out), without gradient."""
    return torch.stack(list(fleet_run.fleet_logits(network, dies, x)))


def dies_of(net: nr.Network, work: Workload) -> list[Params]:
    """The parameters of a fleet's network on each die."""
    others = {name: value for name, value in net.named_parameters() if name not in work.existing}
    index = {name: pattern.index for name, pattern in net.placement().patterns.items()}
    return [
        others | {name: value.flatten()[index[name]] if name in index else value for name, value in die.items()}
        for die in work.dies
    ]


def hidden_rate(work: Workload) -> float:
    """Spikes per hidden neuron and step."""
    with torch.no_grad():
        _, spikes = network(work)(work.x)
    hidden = [spikes[name] for name in list(spikes)[:-1]]
    return sum(part.sum().item() for part in hidden) / sum(part.numel() for part in hidden)


@torch.no_grad()
def logits(work: Workload, reset: nr.nn.Reset) -> Tensor:
    """Our logits with this reset; on all dies if the workload is a fleet."""
    return Ours(reset).prepare(work).logits().detach()


class Ours(Tool):
    """The natural layers of the library: ``Lif``, ``LeakyIntegrator``, ``Linear`` or ``SparseLinear``."""

    reset = "DelayedSubtract"
    convolves = True

    def __init__(self, kind: nr.nn.Reset | None = None):
        self.kind = kind

    def training_step(self, work: Workload) -> Run:
        net = network(work, self.kind)

        def step() -> None:
            net.zero_grad(set_to_none=True)
            functional.cross_entropy(net(work.x)[0], work.y).backward()

        return Run(step, lambda: net(work.x)[0])

    def adversarial_step(self, work: Workload) -> Run:
        net = network(work, self.kind)
        attack, ball = nr.attacks.PGA(steps=ATTACK_STEPS), nr.Ball.uniform(RADIUS)
        loss = nr.regularizers.Adversarial(functional.cross_entropy, attack, ball, BETA)

        def step() -> None:
            net.zero_grad(set_to_none=True)
            loss(net, dict(net.named_parameters()), (work.x, work.y)).backward()

        return Run(step, lambda: net(work.x)[0])

    def fleet(self, work: Workload) -> Run:
        net = network(work, self.kind)
        dies = dies_of(net, work)

        def run() -> Tensor:
            return fleet_logits(net, dies, work.x)

        return Run(run, run)


tool = Ours()
