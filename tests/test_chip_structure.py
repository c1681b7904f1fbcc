"""Common deviations of the sites of a die: gradients, fields, cores, corners, and kinds that vary together."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import stats

from neurorobust.chip import ChipModel, KindModel, Limits, SourcedValue, draw
from neurorobust.chip.die_random import normals
from neurorobust.chip.spatial import (
    Correlation,
    DependenceStructure,
    GaussianField,
    PerChip,
    PerCore,
    PerNeuron,
    Surface,
    quadratic,
)
from neurorobust.chip.variability import LogNormal
from neurorobust.core.placement import HOST, Placement

ALARM = 1e-6  # false-alarm rate of each distribution test here; the seeds are fixed, so it is paid once
CORES = torch.arange(2).repeat_interleave(256)


def die(structure, serial=0, n_in=2, cores=CORES):
    """u of two kinds and of some synapses per neuron."""
    n = len(cores)
    values = {
        "a.input.weight": torch.ones(n, n_in),
        "a.tau_mem": torch.ones(n),
        "a.v_threshold": torch.ones(n),
        "a.r": torch.ones(n),
    }
    masks = {"a.input.weight": torch.ones(n, n_in, dtype=torch.bool)}
    placement = Placement({"a": cores}, masks=masks)
    return normals(values, placement, seed=3, serial=serial, structure=structure)


@pytest.mark.parametrize("part", [PerChip(0.5, "x"), PerCore(0.5, "x"), GaussianField(0.5, "x", length=3.0)], ids=repr)
def test_a_shared_component_is_standard_normal(part):
    """One site over 2000 dies, KS with false alarm 1e-6."""
    one = [part.draw(np.array([3, k], dtype=np.uint64), 0, 16, np.array([37]))[0] for k in range(2000)]
    assert stats.kstest(one, "norm").pvalue > ALARM


def test_a_mixed_u_is_normal():
    """Half a chip-wide part, half its own: 1000 dies of one neuron, KS with false alarm 1e-6."""
    structure, one = DependenceStructure({"tau_mem": (PerChip(0.5, "x"),)}), torch.zeros(1, dtype=torch.long)
    u = [float(die(structure, serial, 1, one)["a.tau_mem"]) for serial in range(1000)]
    assert stats.kstest(u, "norm").pvalue > ALARM


def test_shares_are_shares_of_the_variance():
    """Chip 0.2, core 0.3, neuron 0.1: correlations of synapses on one neuron, core and chip over 400 dies within 6
    standard errors of 0.6, 0.5 and 0.2."""
    parts = (PerChip(0.2, "c"), PerCore(0.3, "k"), PerNeuron(0.1, "n"))
    cores = torch.tensor([0, 0, 1])
    u = torch.stack(
        [die(DependenceStructure({"weight": parts}), k, 2, cores)["a.input.weight"] for k in range(400)]
    ).flatten(1)
    r = np.corrcoef(u.numpy().T)
    for i, j, expected in [(0, 1, 0.6), (0, 2, 0.5), (0, 4, 0.2), (3, 5, 0.2)]:
        assert abs(r[i, j] - expected) < 6 * (1 - expected**2) / math.sqrt(400)
    assert float(u.var()) == pytest.approx(1.0, abs=0.3)


def test_parts_of_one_name_are_one():
    """Two kinds that name the same surface share it, two names are two; the sites' own parts stay their own."""

    def surfaces(second):
        u = die(DependenceStructure({"tau_mem": (Surface(1.0, "one"),), "v_threshold": (Surface(1.0, second),)}))
        return u["a.tau_mem"], u["a.v_threshold"]

    first, same = surfaces("one")
    assert torch.equal(first, same)
    assert not torch.allclose(*surfaces("other"))


def test_a_surface_is_quadratic_on_every_core():
    """With a share of 1 nothing is left beside the five terms, and the two cores have different surfaces."""
    u = die(DependenceStructure({"tau_mem": (Surface(1.0, "g"),)}))["a.tau_mem"].numpy().reshape(2, 256)
    terms = quadratic(256, 16)
    np.testing.assert_allclose(terms.T @ terms / 256, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(terms @ (terms.T @ u.T) / 256, u.T, atol=1e-12)
    assert not np.allclose(u[0], u[1])


@pytest.mark.parametrize(("size", "width"), [(256, 16), (512, 32), (64, 8), (9, 3)])
def test_the_terms_of_a_surface_are_those_of_lapack(size, width):
    row, column = np.divmod(np.arange(size, dtype=float), width)
    q, r = np.linalg.qr(np.stack([np.ones(size), row, column, row**2, row * column, column**2], 1))
    np.testing.assert_allclose(quadratic(size, width), (q * np.sign(np.diag(r)))[:, 1:] * math.sqrt(size), atol=1e-9)


@pytest.mark.parametrize(("size", "width", "terms"), [(8, 8, 2), (10, 5, 4), (4, 2, 3), (3, 1, 2), (2, 1, 1)])
def test_a_surface_on_few_rows_has_fewer_terms(size, width, terms):
    """Two rows have no curvature along a column. All terms are polynomials in row and column, orthonormal."""
    found = quadratic(size, width)
    row, column = np.divmod(np.arange(size, dtype=float), width)
    powers = np.stack([np.ones(size), row, column, row**2, row * column, column**2], 1)
    np.testing.assert_allclose(found.T @ found / size, np.eye(terms), atol=1e-12)
    np.testing.assert_allclose(powers @ np.linalg.lstsq(powers, found, rcond=None)[0], found, atol=1e-12)


def test_the_terms_of_a_surface_have_the_same_bits_on_every_processor():
    """Only operations that IEEE 754 rounds exactly; made on an AVX-512 processor."""
    assert hashlib.sha256(quadratic(256, 16).tobytes()).hexdigest()[:16] == "c4db7f7fe936111c"


def test_a_smooth_field_correlates_as_it_says():
    """Over 300 dies: neighbours, 4 and 10 apart against the closed form, which is near exp(−d²/2ℓ²)."""
    field, neuron = GaussianField(1.0, "f", length=3.7), np.arange(11)
    rows = np.stack([field.draw(np.array([1, k], dtype=np.uint64), 0, 64, neuron) for k in range(300)])
    for apart in (1, 4, 10):
        found = (rows[:, 0] * rows[:, apart]).mean()
        truth = field.correlation(0, apart)
        assert abs(found - truth) < 6 * math.sqrt((1 + truth**2) / 300)
        assert truth == pytest.approx(math.exp(-(apart**2) / (2 * 3.7**2)), abs=0.06)


def test_kinds_that_vary_together():
    """512 neurons, correlation −0.6 within 6 standard errors, the first kind's u as they were; the rest untouched."""
    together = Correlation(("tau_mem", "v_threshold"), ((1.0, -0.6), (-0.6, 1.0)))
    plain, mixed = die(DependenceStructure()), die(DependenceStructure(correlation=together))
    assert torch.equal(plain["a.tau_mem"], mixed["a.tau_mem"])
    assert torch.equal(plain["a.r"], mixed["a.r"])
    torch.testing.assert_close(mixed["a.v_threshold"], -0.6 * plain["a.tau_mem"] + 0.8 * plain["a.v_threshold"])


def test_a_kind_that_shares_the_deviate_of_another_has_its_normals():
    """r has the normals of tau_mem, gradients included."""
    u = die(DependenceStructure({"tau_mem": (Surface(0.4, "g"),)}, {"r": "tau_mem"}))
    assert torch.equal(u["a.r"], u["a.tau_mem"])


def test_the_host_and_absent_synapses_have_no_shared_component():
    """On the host u is its own; where there is no synapse u stays 0 under a gradient."""
    structure = DependenceStructure({"weight": (Surface(0.5, "g"),), "tau_mem": (PerChip(0.5, "c"),)})
    host = torch.full((4,), HOST)
    assert torch.equal(die(structure, cores=host)["a.tau_mem"], die(DependenceStructure(), cores=host)["a.tau_mem"])
    mask = torch.tensor([[True, False], [False, True]])
    placement = Placement({"a": torch.zeros(2, dtype=torch.long)}, masks={"a.weight": mask})
    u = normals({"a.weight": torch.ones(2, 2)}, placement, seed=0, serial=0, structure=structure)["a.weight"]
    assert torch.equal(u != 0, mask)


def model(**changed):
    kinds = {kind: KindModel(LogNormal(0.1), SourcedValue(0.1, "assumed", "me")) for kind in ("tau_mem", "v_threshold")}
    return ChipModel("x", "X", kinds, **changed)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Surface(1.5, "g"), "at most 1"),
        (lambda: Surface(-0.1, "g"), "share"),
        (lambda: Surface(0.1, ""), "needs one"),
        (lambda: Surface(0.1, "g", size=1), "size: got 1; expected an integer ≥ 2"),
        (lambda: GaussianField(0.1, "g", length=0.0), "length"),
        (lambda: DependenceStructure({"weight": (PerChip(0.6, "a"), PerCore(0.6, "b"))}), "add up to 1.2"),
        (lambda: Correlation(("tau_mem", "weight"), ((1.0, 0.0), (0.0, 1.0))), "'weight' does not exist"),
        (lambda: Correlation(("tau_mem", "r"), ((1.0, 1.5), (1.5, 1.0))), "not positive definite"),
        (lambda: Correlation(("tau_mem", "r"), ((1.0, 0.5), (0.4, 1.0))), "symmetric"),
        (lambda: Correlation(("tau_mem", "r"), ((1.0,),)), "shape"),
        (lambda: model(correlation=Correlation(("tau_mem", "r"), ((1.0, 0.5), (0.5, 1.0)))), "correlation of kind"),
        (lambda: model(version=0), "version"),
        (lambda: Limits(cores=4), "needs one"),
        (lambda: Limits(cores=4, source="me", others={"core": ("assumed", "me")}), "Did you mean 'cores'"),
    ],
)
def test_impossible_structures_are_refused(build, words):
    """Shares beyond 1, correlations no devices can have, limits without a source: one error that says which."""
    with pytest.raises(ValueError, match=words):
        build()


def test_a_die_is_drawn_and_described():
    """A row of maps for each kind, a column for each core; print says what it is."""
    chip = model(limits=Limits(cores=2, neurons_per_core=256, source="me"))
    one, other = chip.fabricate([17, 18], seed=0)
    figure = draw(one)
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len([image for image in images if image.shape == (16, 16)]) == 4
    np.testing.assert_array_equal(images[0], one.map("tau_mem")[0].numpy())
    assert "die 17 of x (version 1, seed 0)" in str(one)
    assert all(abs(r) * math.sqrt(512) < 6 for r in one.compare(other).values())
    with pytest.raises(ValueError, match="has no limits"):
        model().fabricate([0], 0)[0].map("tau_mem")
