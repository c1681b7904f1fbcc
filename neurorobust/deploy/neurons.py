"""Choice of physical neurons of one board, from what it answered: nothing of its die is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .._util.errors import check_count
from ..chip.design import check_type
from ..core.run import evaluating, forward, nominal
from .board.contract import Session
from .calibration import events_of
from .deployment import Deployment, check_deployment


@dataclass(frozen=True, eq=False)
class ChosenNeurons:
    """The result of :func:`choose_neurons`.

    Attributes:
        deployment: the same codes on the chosen neurons. It is not on the board yet: program it.
        errors: of every neuron of the network on each of its candidates, (neurons, candidates): the sum over samples
            of (spikes on the board − spikes of the network itself)².
        chosen: the candidate of each neuron, (neurons,).
        measurements: samples that were run on the board. programmings: of the board.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     found = nr.deploy.choose_neurons(session, deployment, torch.zeros(3, 140, 32), candidates=2)
        >>> found.errors.shape, found.programmings
        (torch.Size([128, 2]), 2)
    """

    deployment: Deployment
    errors: Tensor
    chosen: Tensor
    measurements: int
    programmings: int

    def __repr__(self) -> str:
        before, after = float(self.errors[:, 0].mean()), float(self.errors.gather(1, self.chosen[:, None]).mean())
        return (
            f"ChosenNeurons({int((self.chosen > 0).sum())} of {len(self.chosen)} neurons moved; mean error "
            f"{before:.3g} to {after:.3g}; {self.measurements} measurements, {self.programmings} programmings)"
        )


def choose_neurons(
    session: Session, deployment: Deployment, x: Tensor, *, candidates: int | None = None
) -> ChosenNeurons:
    """Try every neuron of a network on several physical neurons of its core, and keep the best for each.

    A core of N neurons of which m are used has room for N // m layouts: neuron i is at number i, then at i + m, at
    i + 2m … Each layout is programmed and runs all samples. So every neuron is tried with its own synapses; its inputs
    from other neurons deviate, too. The neurons chosen are together on the chip for the first time afterwards.

    Args:
        session: open, in any state but closed; it holds the last layout afterwards.
        x: counts of events, (n, T, channels): a few samples of the task. Each costs one measurement per layout.
        candidates: number of layouts; as many as the emptiest core has by default.

    Raises:
        ValueError: no core has a free place for all its neurons, or more layouts are asked than there are. Otherwise as
            :func:`measure`, and :meth:`Session.program`. A wrong argument does not change what is on the board.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     found = nr.deploy.choose_neurons(session, deployment, torch.zeros(3, 140, 32), candidates=2)
        >>> found.measurements  # 2 candidates, 3 samples each
        6
    """
    check_type("session", session, Session, "an open board: board.open()")
    check_deployment(deployment)
    used = deployment.programmed.placement.occupied()
    assert deployment.chip.architecture is not None
    room = {core: deployment.chip.architecture.neurons // count for core, count in used.items()}
    largest = max(room.values())
    if largest < 2:
        raise ValueError(f"deployment: uses more than half of every core of {deployment.chip.name}; nothing is free.")
    candidates = largest if candidates is None else check_count("candidates", candidates)
    if not 2 <= candidates <= largest:
        raise ValueError(f"candidates: got {candidates}; expected 2 to {largest}, for which there is room.")
    network = deployment.native
    samples, duration = events_of(x, network), x.shape[1] * network.dt
    expected = _nominal_counts(deployment, x)
    layouts, errors = list(_layouts(deployment, used, room, candidates)), []
    for numbers in layouts:
        session.program(deployment.at_neurons(numbers))
        counts = torch.stack([torch.from_numpy(each.counts()) for each in session.run_many(samples, duration)])
        errors.append((counts - expected).double().square().sum(0))
    chosen = torch.stack(errors, 1).argmin(1)
    flat = torch.stack([torch.cat(list(numbers.values())) for numbers in layouts], 1)
    best = flat.gather(1, chosen[:, None])[:, 0].split([len(cores) for cores in deployment.cores.values()])
    kept = deployment.at_neurons(dict(zip(deployment.cores, best)))
    return ChosenNeurons(kept, torch.stack(errors, 1), chosen, candidates * len(x), candidates)


def _layouts(
    deployment: Deployment, used: Mapping[int, int], room: Mapping[int, int], candidates: int
) -> Iterator[dict[str, Tensor]]:
    """The numbers of all neurons, by layer; a core with less room starts again."""
    filled, first = dict.fromkeys(used, 0), {}
    for layer, cores in deployment.cores.items():
        first[layer] = torch.zeros_like(cores)
        for i, core in enumerate(cores.tolist()):
            first[layer][i] = filled[core]
            filled[core] += 1
    for k in range(candidates):
        steps = {core: (k % room[core]) * count for core, count in used.items()}
        yield {
            layer: first[layer] + torch.tensor([steps[core] for core in cores.tolist()])
            for layer, cores in deployment.cores.items()
        }


@torch.no_grad()
def _nominal_counts(deployment: Deployment, x: Tensor) -> Tensor:
    """Spikes of every neuron of the network itself, (n, neurons)."""
    network = deployment.native
    with evaluating(network):
        signals = forward(network, nominal(network), x.to(next(network.parameters())))[1]
    return torch.cat([signals[layer].sum(0) for layer in deployment.cores], -1).round().long()
