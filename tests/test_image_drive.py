"""Pulses and base currents of an image, and how linear a chip's synaptic filters would be with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from imaged import dpi_network
from scipy.integrate import solve_ivp

import chipmodels
import neurorobust as nr
from neurorobust.circuit import Technology, with_drive
from neurorobust.circuit.simulation import jumps
from neurorobust.deploy.image import FilterLinearity

T = Technology()


@pytest.fixture(scope="module", params=["dynapse2", "dynapse1"])
def deployment(request) -> nr.deploy.Deployment:
    cores = ([0] * 6 + [1] * 4,)
    return nr.deploy.onto(dpi_network(cores), chipmodels.load(request.param))


def test_other_pulses_and_base_currents_make_the_same_jumps(deployment):
    """Every event's jump stays, and the image is still that of its deployment; the base currents and the pulse are the
    ones asked for. One base current alone is seen."""
    plain, driven = deployment.image(), deployment.image(pulse=1e-4, weight=10.0)
    np.testing.assert_allclose(jumps(driven.circuit()), jumps(plain.circuit()), rtol=1e-6)
    assert driven.check(deployment) == []
    names = [name for name in plain.cores[0] if name.startswith("Iw_") and name != "Iw_ahp"]
    for name in names:
        assert driven.cores[0][name] == pytest.approx(10 * plain.cores[0][name], rel=1e-6)
    assert T.charge_time(T.c_pulse, np.array(driven.cores[0]["Ipulse"])) == pytest.approx(1e-4)
    cores = {core: dict(biases) for core, biases in driven.cores.items()}
    cores[0][names[0]] *= 1.5
    assert [each.where for each in replace(driven, cores=cores).check(deployment)] == [f"{names[0]} on core 0"]


def test_base_currents_beyond_the_generator_are_refused():
    deployment = nr.deploy.onto(dpi_network(([0] * 6,)), chipmodels.load("dynapse2"))
    with pytest.raises(nr.deploy.DeploymentError, match=r"Iw_3 on core 0: got 4\.96e-07 A; the bias generator reaches"):
        deployment.image(weight=62.0)
    with pytest.raises(ValueError, match="pulse: got 0"):
        deployment.image(pulse=0.0)
    with pytest.raises(ValueError, match="weight: got -1"):
        with_drive(deployment.image().circuit(), weight=-1.0)


def test_linearity_is_that_of_the_filter_s_equation():
    """Against scipy's solution of τ (1 + I_gain/I) dI/dt = I_gain I_w/I_τ − I − I_gain during a pulse, from I_0 and
    from I_gain. The decay during the pulse, 2 % here, is not in the parts."""
    deployment = nr.deploy.onto(dpi_network(([0] * 6,)), chipmodels.load("dynapse2"))
    image = deployment.image(pulse=1e-4, weight=60.0)
    found, biases = image.linearity()[0]["AMPA"], image.cores[0]
    tau, gain = T.tau(T.c_syn, np.array(biases["Itau_ampa"])), biases["Igain_ampa"]
    pulse = float(T.charge_time(T.c_pulse, np.array(biases["Ipulse"])))
    weight = sum(biases[f"Iw_{k}"] for k in range(4)) / biases["Itau_ampa"]
    for start, part in ((T.i_0 / gain, found.silent), (1.0, found.at_gain)):
        end = solve_ivp(
            lambda _, ln: (weight / (1 + np.exp(ln)) - 1) / tau, (0, pulse), [np.log(start)], rtol=1e-9, atol=1e-9
        ).y[0, -1]
        assert (np.exp(end) - start) / found.over_gain == pytest.approx(part, abs=0.03)
    assert 0.5 < found.silent < found.at_gain < 1


def test_it_says_linear_or_not_with_a_number(deployment):
    """The default operating point is far from linear; long pulses and large currents make it linear."""
    plain = deployment.image().linearity()[0]["AMPA"]
    assert not plain.linear and plain.silent < 0.01
    assert str(plain).startswith("not linear: an event makes ") and "% of its jump in a silent filter" in str(plain)
    assert str(FilterLinearity(300.0, 0.96, 0.98)).startswith("linear: an event makes 96 %")
    if deployment.chip.name == "dynapse2":
        driven = deployment.image(pulse=3.5e-4, weight=60.0).linearity()
        assert all(each.linear for filters in driven.values() for each in filters.values())
