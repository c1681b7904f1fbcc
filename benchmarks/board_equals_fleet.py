"""Logits of virtual boards against those of ``nr.evaluate``, bit for bit.

    python -m benchmarks.board_equals_fleet                 # 50 serials × 1000 beats × 2 networks: minutes
    python -m benchmarks.board_equals_fleet --serials 3

The networks are those of the zoo for heart beats, with and without a floor; the chip is dynapse2. Exit code 1 if a bit
differs.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

import neurorobust as nr
from neurorobust.chip.installed import chip_model
from neurorobust.nn.fleet_run import fleet_logits

NETWORKS = ("ecg_dpi/adversarial", "ecg/adversarial")
SEED = 1


def differing(name: str, serials: int) -> int:
    """The number of boards whose logits are not those of the fleet."""
    network, _ = nr.zoo.load(name)
    x = nr.tasks.ecg().test.x
    chip = chip_model("dynapse2")
    deployment = nr.deploy.onto(network, chip)
    events = [nr.deploy.Events.of_steps(sample, deployment.native.dt) for sample in x]
    duration, count = x.shape[1] * deployment.native.dt, 0
    fleet = fleet_logits(deployment.native, deployment.dies(range(serials), SEED), x)
    for serial, expected in enumerate(fleet):
        with nr.deploy.VirtualChip(chip, serial, seed=SEED).open() as session:
            session.program(deployment)
            found = nr.deploy.logits(deployment, session.run_many(events, duration))
        count += not torch.equal(found, expected)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serials", type=int, default=50, help="number of boards")
    serials = parser.parse_args().serials
    wrong = 0
    for name in NETWORKS:
        start = time.perf_counter()
        count = differing(name, serials)
        wrong += count
        print(f"{name}: {count} of {serials} boards differ, 1000 beats each, {time.perf_counter() - start:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
