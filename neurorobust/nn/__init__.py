"""Networks and their parts: connections, neurons, resets, surrogate gradients, decoders.

Example:
    >>> nr.nn.Linear(torch.rand(4, 3)).n_out
    4
"""

from ..dynamics import (
    Adaptation,
    AdaptiveThreshold,
    Ahp,
    ArcTan,
    CancelsExcitation,
    DelayedSubtract,
    DelayedToValue,
    FastSigmoid,
    Floor,
    HardFloor,
    Inhibition,
    LeakyFloor,
    NoFloor,
    NoReset,
    PullsDown,
    Reset,
    SnntorchSubtract,
    Subtract,
    Surrogate,
    ToValue,
    Triangle,
)
from .connections import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Delayed, Linear, OneToOne, SumPool2d
from .converted import with_floor
from .decoders import last_step, max_over_time, mean_over_time, per_step, sum_over_time
from .floor import floor_fractions, using_floor
from .network import Network, placement_of
from .neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, LinearizedDpi, Neuron
from .packing import dense, packed
from .sparse_linear import SparseLinear

__all__ = [
    "Adaptation",
    "AdaptiveLif",
    "AdaptiveThreshold",
    "Ahp",
    "ArcTan",
    "AvgPool2d",
    "CancelsExcitation",
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
    "Floor",
    "HardFloor",
    "Inhibition",
    "LeakyFloor",
    "LeakyIntegrator",
    "Lif",
    "Linear",
    "LinearizedDpi",
    "Network",
    "Neuron",
    "NoFloor",
    "NoReset",
    "OneToOne",
    "PullsDown",
    "Reset",
    "SnntorchSubtract",
    "SparseLinear",
    "Subtract",
    "SumPool2d",
    "Surrogate",
    "ToValue",
    "Triangle",
    "dense",
    "floor_fractions",
    "last_step",
    "max_over_time",
    "mean_over_time",
    "packed",
    "per_step",
    "placement_of",
    "sum_over_time",
    "using_floor",
    "with_floor",
]
