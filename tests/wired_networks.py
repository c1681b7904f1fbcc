"""snnTorch modules with a loop of their own, whose wiring is not that of the order in their class."""

from __future__ import annotations

import random
from typing import Any, cast

import snntorch as snn
import torch
from torch import nn


class Wired(nn.Module):
    """Neurons and layers between them, drawn by a seed; ``truth`` says on which neuron each layer ends, "" for the
    output. The order in the class is random, neurons may feed earlier ones in the next step, and layers may be two in a
    row, behind a detach, or inside a block.
    """

    def __init__(self, seed: int, n_neurons: int = 4):
        super().__init__()
        torch.manual_seed(seed)
        draw = random.Random(seed)
        self.sizes = [draw.randint(2, 5) for _ in range(n_neurons)]
        self.truth: dict[str, str] = {}
        self.wires: list[tuple[str, int, int]] = []  # name, source (−1: the input), target (n: the output)
        parts: dict[str, nn.Module] = {
            f"lif{k}": snn.Leaky(beta=0.8, threshold=0.4, learn_beta=draw.random() < 0.3) for k in range(n_neurons)
        }
        for target in range(n_neurons + 1):
            for source in sorted({max(-1, target - 1), draw.randint(-1, n_neurons - 1)}):
                name = f"w{len(self.wires)}"
                n_in = 3 if source < 0 else self.sizes[source]
                n_out = 2 if target == n_neurons else self.sizes[target]
                parts[name] = nn.Linear(n_in, n_out)
                if draw.random() < 0.3:
                    parts[name] = nn.Sequential(nn.Linear(n_in, 3), nn.Linear(3, n_out))
                self.wires.append((name, source, target))
                modules = [f"{name}.0", f"{name}.1"] if isinstance(parts[name], nn.Sequential) else [name]
                self.truth |= dict.fromkeys(modules, "" if target == n_neurons else f"lif{target}")
        for name in draw.sample(sorted(parts), len(parts)):
            self.add_module(name, parts[name])
        self.hidden = {name for name, *_ in self.wires if draw.random() < 0.2}

    def neuron(self, k: int) -> Any:
        return cast(Any, self.get_submodule(f"lif{k}"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, out = len(self.sizes), list[torch.Tensor]()
        mems = [self.neuron(k).init_leaky() for k in range(n)]
        spikes = [x.new_zeros(x.shape[1], size) for size in self.sizes]
        for step in x:
            for target in range(n + 1):
                total: Any = sum(
                    self.current(name, step if source < 0 else spikes[source])
                    for name, source, end in self.wires
                    if end == target
                )
                if target == n:
                    out.append(total)
                else:
                    spikes[target], mems[target] = self.neuron(target)(total, mems[target])
        return torch.stack(out).mean(0)

    def current(self, name: str, signal: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.get_submodule(name)(signal)
        return found.detach() if name in self.hidden else found
