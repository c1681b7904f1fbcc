"""Installed neuron models: those of ``nn/neurons`` and of packages under the entry point
``neurorobust.neurons``."""

from __future__ import annotations

from .._util.discovery import classes
from . import neurons
from .neurons import Neuron

NEURONS = "neurorobust.neurons"


def neuron_classes() -> dict[str, type[Neuron]]:
    """Every installed neuron model, by class name.

    Raises:
        ValueError: two of them have the same name.
    """
    return classes(neurons, Neuron, NEURONS)
