"""A module called with other tensors in its slots: what torch's functional_call gives, and everything back in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from neurorobust.core.slots import called_at, holding, slots_of


class Tied(nn.Module):
    """One weight in two places, one module in two places, a buffer, and a bias that is None."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.again, self.second.weight = self.first, self.first.weight
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x):
        return self.again(self.second(self.first(x))) * self.scale + self.shift


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Tied()


def state(module):
    """Every tensor by every name it has."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {name: id(value) for name, value in [*parameters.items(), *module.named_buffers()]}


def test_slots_have_the_names_of_torch(module):
    """Of parameters and buffers; a weight in two places has two slots of one name."""
    names = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
    found = slots_of(module)
    assert sorted({slot.name for slot in found}) == sorted(names)
    assert [slot.name for slot in found].count("first.weight") == 2
    assert [slot.name for slot in found if slot.buffer] == ["shift"]


def test_it_is_functional_call(module):
    """The same numbers and gradients, also of the tied weight; the module has its own tensors again."""
    x, before = torch.rand(2, 3), state(module)
    values = {slot.name: torch.rand_like(slot.tensor).requires_grad_() for slot in slots_of(module)}
    ours = called_at(module, slots_of(module), values, (x,))
    assert state(module) == before
    theirs = functional_call(module, values, (x,), strict=True)  # which torch 2.13 does not undo in a tied module
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad(out.sum(), list(values.values())) for out in (ours, theirs)]
    assert all(map(torch.equal, *gradients))


def test_an_error_leaves_the_tensors_in_place(module):
    """A pass that fails puts every tensor back, and so do values that do not fit the module."""
    before, slots = state(module), slots_of(module)
    values = {slot.name: slot.tensor.clone() for slot in slots}
    with pytest.raises(RuntimeError, match="shape"):
        called_at(module, slots, values, (torch.rand(2, 4),))
    with pytest.raises(RuntimeError, match=r"[Mm]issing"):
        called_at(module, slots, {"scale": values["scale"]}, (torch.rand(2, 3),))
    with pytest.raises(RuntimeError, match=r"[Uu]nexpected"):
        called_at(module, slots, values | {"other": values["scale"]}, (torch.rand(2, 3),))
    with pytest.raises(KeyError), holding(slots, {"scale": values["scale"]}):
        pass
    assert state(module) == before
