"""Memory that a process holds after each import and after the first training step.

    python -m benchmarks.memory_parts        # MB, resident; the median of five processes, one after the other

The step is the forward and backward pass of a small network, in the compiled loops or in plain torch
(``NEUROROBUST_KERNEL=reference``). Compiled code comes from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

RUNS = 5
CHILD = """
import json, sys
def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6
found = {"Python": resident()}
import torch
found["torch"] = resident()
if sys.argv[1] == "compiled":
    import llvmlite.binding
    found["llvmlite"] = resident()
    import numba
    found["numba"] = resident()
import neurorobust as nr
draw = torch.Generator().manual_seed(0)
hidden = nr.nn.Lif(nr.nn.Linear(torch.rand(64, 16, generator=draw)), tau_mem=0.02, v_threshold=1.0)
out = nr.nn.LeakyIntegrator(nr.nn.Linear(torch.rand(2, 64, generator=draw)), tau_mem=0.02)
network = nr.Network({"hidden": hidden, "out": out}, 1e-3)
found["network built"] = resident()
network((torch.rand(4, 50, 16, generator=draw) < 0.2).float())[0].sum().backward()
found["first step"] = resident()
print(json.dumps(found))
"""


def measured(loops: str) -> dict[str, float]:
    """MB after each part, in the compiled loops or the reference."""
    environment = os.environ | {"NEUROROBUST_KERNEL": loops}
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", CHILD, loops], env=environment, check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(RUNS + 1)
    ][1:]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def main() -> None:
    assert __doc__ is not None
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    for loops in ("compiled", "reference"):
        print(f"{loops}: " + ", ".join(f"{name} {mb:.0f}" for name, mb in measured(loops).items()) + " MB")


if __name__ == "__main__":
    main()
