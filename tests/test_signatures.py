"""Every neuron takes its input first and all else by name."""

from __future__ import annotations

import inspect

import pytest
import torch

from neurorobust.nn import Linear
from neurorobust.nn.installed import neuron_classes


@pytest.mark.parametrize("neuron", neuron_classes().values(), ids=lambda neuron: neuron.__name__)
def test_only_the_input_is_positional(neuron):
    """What stands second cannot be taken for a recurrence in one neuron and for cores in another."""
    parameters = list(inspect.signature(neuron).parameters.values())
    assert parameters[0].name == "input"
    assert all(other.kind is other.KEYWORD_ONLY for other in parameters[1:])
    with pytest.raises(TypeError, match="positional argument"):
        neuron(Linear(torch.ones(2, 2)), Linear(torch.ones(2, 2)))
