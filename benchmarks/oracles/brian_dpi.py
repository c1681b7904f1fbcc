"""A DPI circuit in Brian 2: JSON on stdin, {"times": s, "neurons": …} on stdout.

    .venv-oracles/bin/python benchmarks/oracles/brian_dpi.py < circuit.json

The equations are written here from Chicca et al., Proceedings of the IEEE 102, 2014, with currents in pA; fixed steps,
Runge-Kutta of fourth order, spikes at the end of a step. Input: currents in pA and times in s by name, see
:func:`benchmarks.circuit_oracles.as_json`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

EQUATIONS = """
dI_mem/dt = int(not_refractory) * ((I_gain/I_tau)*(I_in - I_s - I_tau) + f - I_mem*(1 + I_s/I_tau)) / (tau*(1 + I_gain/I_mem)) : 1
I_in = clip(I_ampa + I_dc - I_gaba, I_0, 1e12) : 1
I_s = I_ahp + I_shunt : 1
f = feedback*I_0**(1/(kappa + 1))*I_mem**(kappa/(kappa + 1))/I_tau*(I_mem + I_gain) : 1
dI_ampa/dt = -I_ampa/tau_ampa : 1
dI_gaba/dt = -I_gaba/tau_gaba : 1
dI_shunt/dt = -I_shunt/tau_shunt : 1
dI_ahp/dt = -I_ahp/tau_ahp : 1
I_gain : 1 (constant)
I_tau : 1 (constant)
I_thr : 1 (constant)
I_dc : 1 (constant)
step : 1 (constant)
feedback : 1 (constant)
tau : second (constant)
tau_ampa : second (constant)
tau_gaba : second (constant)
tau_shunt : second (constant)
tau_ahp : second (constant)
t_ref : second (constant)
"""  # noqa: E501


def main(equations: str = EQUATIONS, at_rest: tuple[str, ...] = ()) -> None:
    """Solve equations that have these names; the currents ``at_rest`` begin at I_0."""
    import brian2 as b

    b.prefs.codegen.target = "numpy"
    given: dict[str, Any] = json.load(sys.stdin)
    n = len(given["I_tau"])
    b.defaultclock.dt = given["dt"] * b.second
    group = b.NeuronGroup(
        n,
        equations,
        threshold="I_mem > I_thr",
        reset="I_mem = I_0\nI_ahp += step",
        refractory="t_ref",
        method="rk4",
        namespace={"I_0": given["I_0"], "kappa": given["kappa"]},
    )
    for name in ("I_gain", "I_tau", "I_thr", "I_dc", "step", "feedback"):
        setattr(group, name, np.array(given[name]))
    for name in ("tau", "tau_ampa", "tau_gaba", "tau_shunt", "tau_ahp", "t_ref"):
        setattr(group, name, np.array(given[name]) * b.second)
    for name in ("I_mem", *at_rest):
        setattr(group, name, given["I_0"])
    group.run_regularly("I_mem = clip(I_mem, I_0, 1e12)", dt=b.defaultclock.dt, when="after_groups")
    channels = b.SpikeGeneratorGroup(given["n_channels"], given["event_channels"], given["event_times"] * b.second)
    network = b.Network(group, channels)
    for current in ("ampa", "gaba", "shunt"):
        for source in (channels, group):
            part = given["synapses"][f"{current} {'channels' if source is channels else 'neurons'}"]
            if part["source"]:
                synapses = b.Synapses(source, group, "jump : 1", on_pre=f"I_{current}_post += jump")
                synapses.connect(i=part["source"], j=part["target"])
                synapses.jump = part["jump"]
                network.add(synapses)
    monitor = b.SpikeMonitor(group)
    network.add(monitor)
    network.run(given["duration"] * b.second)
    json.dump(
        {"times": np.asarray(monitor.t / b.second).tolist(), "neurons": np.asarray(monitor.i).tolist()}, sys.stdout
    )


if __name__ == "__main__":
    main()
