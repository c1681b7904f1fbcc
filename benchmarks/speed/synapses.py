"""W6: time and memory of W5 as neurons are added, each with as many inputs as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from . import measuring, peers
from .scaling import exponent
from .workloads import WORKLOADS, Workload

SIZES = (256, 512, 1024, 2048, 4096, 8192)
LARGEST = 4096  # neurons that a peer, which has a dense matrix, is asked for


@dataclass(frozen=True)
class Size:
    """W5 with so many neurons: synapses, our time and the memory that it takes beyond torch, and by peer how many times
    longer it takes."""

    neurons: int
    synapses: int
    median_ms: float
    extra_mb: float
    ratios: dict[str, float]


@dataclass(frozen=True)
class Growth:
    """All sizes, and the exponents of time and memory in the number of neurons, which is that of synapses."""

    sizes: tuple[Size, ...]

    @property
    def of_time(self) -> float:
        return exponent([size.neurons for size in self.sizes], [size.median_ms for size in self.sizes])

    @property
    def of_memory(self) -> float:
        return exponent([size.neurons for size in self.sizes], [size.extra_mb for size in self.sizes])


def workload(neurons: int) -> Workload:
    """W5 with another number of neurons."""
    n_in, _, n_out = WORKLOADS["W5"].sizes
    return replace(WORKLOADS["W5"], sizes=(n_in, neurons, n_out))


def growth(runs: int, threads: int, against: list[str], advance: Callable[..., None] = lambda *_: None) -> Growth:
    """W5 at every size, ours and, up to 4096 neurons, peers in turns."""
    import_mb = measuring.import_mb()
    return Growth(tuple(_size(neurons, runs, threads, against, import_mb, advance) for neurons in SIZES))


def _size(
    neurons: int, runs: int, threads: int, against: list[str], import_mb: float, advance: Callable[..., None]
) -> Size:
    work, tools = workload(neurons), [peers.OURS, *(against if neurons <= LARGEST else [])]
    measured = measuring.measure(work, tools, runs, threads, lambda text: advance(f"{neurons} neurons, {text}"))
    mine = measured.times[peers.OURS]
    synapses = sum(chosen.numel() for chosen in work.sources.values())
    return Size(neurons, synapses, mine.median_ms, mine.peak_mb - import_mb, measured.ratios())
