"""The thorough suite compared with strong-1, on the robust network in the package.

    python -m benchmarks.suites

``nr.attacks.thorough()`` uses the surrogate of the network, strong-1 uses three surrogates. Network ``ecg/adversarial``
of the zoo, the first 200 test beats, every kind, seed 1. Prints the balanced accuracy on the worst die that each finds.
"""

from __future__ import annotations

import neurorobust as nr
from neurorobust.evaluation import strong_worst_case
from neurorobust.io import zoo

ZETAS = (0.05, 0.1)


def main() -> None:
    network, _ = zoo.load("ecg/adversarial")
    data = nr.tasks.ecg().test.first(200)
    for zeta in ZETAS:
        ball = nr.Ball.uniform(zeta)
        thorough = nr.worst_case(network, data, ball, nr.attacks.thorough(), seed=1)
        strong = strong_worst_case(network, data, ball, seed=1)
        print(f"ζ = {zeta:g}: thorough {thorough.score:.3f}, {strong.suite} {strong.score:.3f}")


if __name__ == "__main__":
    main()
