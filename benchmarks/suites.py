"""The suite ``thorough`` against the frozen one, ``strong-1``, on the robust network that the package holds.

    python benchmarks/suites.py

``thorough`` searches through the network's own surrogate, the frozen suite through three. Network ``ecg/adversarial``
of the zoo, the first 200 test beats, every kind, seed 1; balanced accuracy on the worst die each finds.
"""

from __future__ import annotations

import neurorobust as nr
from neurorobust.evaluation import frozen_worst_case
from neurorobust.io import zoo

ZETAS = (0.05, 0.1)


def main() -> None:
    network, _ = zoo.load("ecg/adversarial")
    data = nr.tasks.ecg().test.first(200)
    for zeta in ZETAS:
        ball = nr.Ball.uniform(zeta)
        thorough = nr.worst_case(network, data, ball, nr.attacks.strong(), seed=1)
        frozen = frozen_worst_case(network, data, ball, seed=1)
        print(f"ζ = {zeta:g}: thorough {thorough.score:.3f}, strong-1 {frozen.score:.3f}")


if __name__ == "__main__":
    main()
