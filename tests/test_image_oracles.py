"""Images as rockpool reads them, where `make oracles` has built its environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from benchmarks.circuit_oracles import PYTHON, oracle
from neurorobust.deploy.image.layout import BIASES, SE2

pytestmark = pytest.mark.skipif(
    not (PYTHON.parent.parent / ".complete").exists(), reason="no .venv-oracles with Brian 2 and rockpool: make oracles"
)
NETWORKS = 20
EXCITES = {1024: 1, 512: -1, 0: 0}


def two_cores(seed: int) -> nr.Network:
    """8 to 20 neurons on two cores, recurrent across both. Every source is heard on both cores, as rockpool needs."""
    generator = np.random.default_rng(seed)
    n, n_in = int(generator.integers(8, 21)), int(generator.integers(2, 7))
    where = generator.permutation(np.arange(n) % 2)
    network = dpi_network((where.tolist(),), n_in, density=0.5, seed=seed)
    layer = network.layers()["layer0"]
    for part in layer.connections().values():
        for source in range(part.mask.shape[1]):
            for core in (0, 1):
                listener = int(generator.choice(np.flatnonzero(where == core)))
                part.mask[listener, source] = True
                with torch.no_grad():
                    part.weight[listener, source] = 0.1
    return network


@pytest.fixture(scope="module")
def deployments() -> list[nr.deploy.Deployment]:
    return [nr.deploy.onto(two_cores(seed), chipmodels.load("dynapse2")) for seed in range(NETWORKS)]


@pytest.fixture(scope="module")
def answer(deployments) -> dict[str, Any]:
    return oracle("memory_se2", {"images": [deployment.image().entry() for deployment in deployments]})


def test_weights_signs_and_cores_are_those_that_rockpool_reads(deployments, answer):
    """20 random networks on two cores, recurrent across them: all masks, signs and cores, exactly."""
    across = 0
    for deployment, read in zip(deployments, answer["read"]):
        codes = deployment.programmed.codes
        sites = deployment.programmed.placement.numbering["layer0"]
        neurons = {(0, int(core), int(number)): i for i, (core, number) in enumerate(zip(sites.core, sites.number))}
        columns = [neurons[tuple(address)] for address in read["columns"]]
        assert sorted(columns) == list(range(len(neurons)))
        assert [core for _, core in read["core_map"]] == sites.core[columns].tolist()
        tags = {(route.source, route.tag): route.element for route in deployment.routes}
        for part, source, rows in (("input", "x", "tags_in"), ("recurrent", "layer0", "tags_rec")):
            end = rows.removeprefix("tags_")
            signs = np.vectorize(EXCITES.__getitem__)(np.array(read[f"dendrites_{end}"]))
            masks = np.array(read[f"weights_{end}"])
            wanted = codes[f"layer0.{part}.weight"].numpy().T
            order = [tags[source, tag] for tag in read[rows]]
            assert sorted(order) == list(range(len(wanted)))
            np.testing.assert_array_equal(signs * masks, wanted[order][:, columns])
        core = sites.core.numpy()
        across += int(((codes["layer0.recurrent.weight"].numpy() != 0) & (core[:, None] != core)).sum())
    assert across > 500


def test_ranges_and_names_of_biases_are_rockpool_s(answer):
    """Except that of the gate of NMDA, which images do not have."""
    assert answer["biases"].pop("If_nmda")[0] == "DENM_NMREV_N"
    for name, (device, low, high) in answer["biases"].items():
        assert BIASES[name].device == device
        reach = SE2.ranges[name]
        assert (reach.low, reach.high) == pytest.approx((low, high), rel=0.03)


def test_the_bias_generator_comes_near_every_current(deployments, answer):
    """Within half a step of its coarse range; the steps are widest at small fine codes."""
    off = [
        abs(reached / deployment.image().cores[int(name.split()[1])][name.split()[0]] - 1)
        for deployment, codes in zip(deployments, answer["codes"])
        for name, (_, _, reached) in codes.items()
    ]
    assert max(off) < 0.05 and np.median(off) < 0.01
