"""The time of one step, by operator."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from .ours import tool
from .workloads import Workload

ROWS = 15


def operators(work: Workload, steps: int = 5) -> list[tuple[str, float, float, int]]:
    """(operator, its own ms per step, share, calls per step) of ours on a workload, the longest first.

    Times of an operator's threads are not added up: it is what the calling thread waits for.
    """
    run = tool.prepare(work)
    for _ in range(2):
        run.step()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        for _ in range(steps):
            run.step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    rows = [
        (event.key, event.self_cpu_time_total / 1e3 / steps, event.self_cpu_time_total / total, event.count // steps)
        for event in events
    ]
    return sorted(rows, key=lambda row: -row[1])[:ROWS]
