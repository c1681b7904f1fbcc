"""Networks and their parts: connections, neurons, resets, surrogate gradients, decoders."""

from ..dynamics import (
    ArcTan,
    DelayedSubtract,
    DelayedToValue,
    FastSigmoid,
    NoReset,
    Reset,
    SnntorchSubtract,
    Subtract,
    Surrogate,
    ToValue,
    Triangle,
)
from .connections import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Delayed, Linear, OneToOne, SumPool2d
from .decoders import last_step, max_over_time, mean_over_time, per_step
from .network import Network, placement_of
from .neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, Neuron

__all__ = [
    "AdaptiveLif",
    "ArcTan",
    "AvgPool2d",
    "Chain",
    "Connection",
    "Conv1d",
    "Conv2d",
    "CubaLeakyIntegrator",
    "CubaLif",
    "Delayed",
    "DelayedSubtract",
    "DelayedToValue",
    "FastSigmoid",
    "LeakyIntegrator",
    "Lif",
    "Linear",
    "Network",
    "Neuron",
    "NoReset",
    "OneToOne",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "SumPool2d",
    "Surrogate",
    "ToValue",
    "Triangle",
    "last_step",
    "max_over_time",
    "mean_over_time",
    "per_step",
    "placement_of",
]
