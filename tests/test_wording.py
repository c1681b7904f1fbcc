"""Laws in words: the numbers in them are those of the law, in the unit of the chip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

import chipmodels
from neurorobust._util.discovery import classes
from neurorobust.chip import KindModel, SourcedValue, laws, variability
from neurorobust.chip.drift import Device, PolynomialCurve, PowerDrift, ReadNoise
from neurorobust.chip.encodings import LogUniform
from neurorobust.chip.spatial import GaussianField, Surface
from neurorobust.chip.spreads import PolynomialSpread, PowerSpread, SpreadTable
from neurorobust.chip.variability import (
    Clipped,
    Empirical,
    Exact,
    Gamma,
    Law,
    LogNormal,
    Normal,
    Offset,
    Outliers,
    Truncated,
)
from neurorobust.chip.wording import polynomial, quantity

TABLE = SpreadTable(((1e-9, 0.17), (8e-9, 0.1)))


@pytest.mark.parametrize(
    ("law", "unit", "words"),
    [
        (Exact(), "", "exact"),
        (Normal(0.2), "LSB", "normal, standard deviation 20 % of the programmed value"),
        (Normal(0.0), "LSB", "exact"),
        (LogNormal.from_cv(0.098), "", "lognormal, median at the programmed value, CV 9.8 %"),
        (
            LogNormal.from_cv(TABLE),
            "A",
            "lognormal, median at the programmed value, CV 17 % at 1 nA, 10 % at 8 nA (linear in the logarithm of the "
            "value between them)",
        ),
        (
            Normal(PowerSpread(0.1, 4e-9, -0.5, 0.3)),
            "A",
            "normal, relative standard deviation 10 % at 4 nA, times (value / 4 nA)^−0.5, at most 30 %",
        ),
        (Gamma(0.25), "", "gamma, CV 25 % of the programmed value"),
        (Empirical((1.2, 0.8, 1.0)), "", "3 measured factors, 0.8 to 1.2 times the programmed value"),
        (Offset(3.0), "LSB", "normal offset, standard deviation 3 LSB, the same at every programmed value"),
        (
            Offset(PolynomialSpread((1.0, 2.0), 1e-6)),
            "S",
            "normal offset, standard deviation 1 + 2 r, r = value / 1 µS",
        ),
        (
            Outliers(LogNormal.from_cv(0.08), 0.02, 1.3, 2.8),
            "s",
            "lognormal, median at the programmed value, CV 8 %; 2 % of the devices are outliers, 1.3 to 2.8 times the "
            "programmed value",
        ),
        (
            Clipped(Normal(0.5)),
            "",
            "normal, standard deviation 50 % of the programmed value; a value that would change its sign is 0",
        ),
        (
            Truncated(Normal(0.1), 3.0),
            "",
            "normal, standard deviation 10 % of the programmed value; truncated at 3 standard deviations",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Law) else None,
)
def test_a_law_in_words(law, unit, words):
    """Each law of the package, against a sentence written by hand."""
    assert law.in_words(unit) == words


def test_every_law_of_the_package_has_words():
    """No law of ours falls back to its representation."""
    assert [name for name, law in classes(variability, Law).items() if "in_words" not in vars(law)] == []


def test_a_law_of_a_user_shows_its_representation():
    """A law with the one method that it needs."""

    @dataclass(frozen=True)
    class Mine(Law):
        level: float

        def deviate(self, kind, normals, nominal, reading=None):
            return self.level * normals[0]

    assert Mine(0.25).in_words().endswith("Mine(level=0.25)")
    assert torch.equal(Mine(0.5).deviate("weight", (torch.ones(2),), torch.ones(2)), torch.full((2,), 0.5))


def test_kinds_of_a_chip_in_words():
    """Unit, shared parts and the device that sets a kind, of a chip that is known."""
    rows = {kind: (law, how, stored) for kind, law, how, stored in laws(chipmodels.load("dynapse2"))}
    assert rows["weight"][0].endswith("36 % of the variance is a smooth quadratic surface over each core")
    assert "9.9 % at 5.6 nA" in rows["weight"][0] and rows["weight"][1] == "each by itself"
    assert rows["tau_mem"][1:] == ("one value for a core", "steps of 0.63 % from 77 ns to 353 ms")
    assert rows["r"][1] == "by the device that sets tau_mem, whose random number it takes"
    leak = {kind: law for kind, law, _, _ in laws(chipmodels.load("brainscales2"))}["v_leak"]
    assert leak == "normal offset, standard deviation 3 LSB, the same at every programmed value"


def test_derived_kinds_and_corners_are_said():
    """A kind that a circuit derives from another one, and a corner of the whole chip."""
    chip = chipmodels.load("dynapse1").with_corner(tau_mem=0.1)
    kinds = dict(chip.kinds)
    kinds["r"] = KindModel(Exact(), SourcedValue(0.0, "assumed", "here"), derived={"tau_mem": 1.0})
    rows = {kind: law for kind, law, _, _ in laws(type(chip)("x", "x", kinds, corner=chip.corner))}
    assert rows["r"] == "exact; and 1 times the deviation of tau_mem"
    assert rows["tau_mem"].endswith("and a corner: +0.1 in the logarithm, on every device")
    shared = {kind: law for kind, law, _, _ in laws(chipmodels.load("dynapse2").with_corner(tau_mem=0.1))}
    assert shared["r"].endswith("and a corner: +0.1 in the logarithm, on every device")  # one device sets both


def test_a_memory_cell_in_words():
    """What each law of a cell computes: the size of the exponent, the whole time of a read, both ends."""
    flat = PolynomialCurve((0.1,))
    assert "ν the size of a normal with mean 0.1" in PowerDrift(flat, flat, 20.0).in_words()
    noise = ReadNoise(flat, t_read=1.0, start=2.0)
    assert noise.in_words().endswith("times √ln((t + 3 s) / 2 s)")
    assert float(noise.sigma(torch.zeros(1), 4.0)) == pytest.approx(0.1 * math.log(7 / 2) ** 0.5)
    assert "; G (between 0 S and 90 µS)" in Device(1e-4, flat, high=9e-5).in_words()


def test_units_and_polynomials():
    """Prefixes at their borders, signs, and terms that are left out."""
    assert [quantity(value, "A") for value in (1e-9, 999e-12, 0.0, 1.0, 2.5e-16)] == [
        "1 nA",
        "999 pA",
        "0 A",
        "1 A",
        "0.25 fA",
    ]
    assert quantity(0.999e-3, "s") == "999 µs" and quantity(-0.02, "V") == "−20 mV"
    assert polynomial((0.0, -0.5, 0.0, 2.0)) == "−0.5 r + 2 r³" and polynomial((0.0,)) == "0"
    assert Surface(0.3, "a").in_words() == "30 % of the variance is a smooth quadratic surface over each core"
    assert "correlation length 3.7 neurons" in GaussianField(0.47, "b", 3.7).in_words()
    assert LogUniform(1e-3, 1.0, 0.01).in_words("s") == "steps of 1 % from 1 ms to 1 s"
