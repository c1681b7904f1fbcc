"""A DPI circuit in Brian 2 as teili has it: JSON on stdin, {"times": s, "neurons": …} on stdout.

    .venv-oracles/bin/python benchmarks/oracles/brian_teili.py < circuit.json

The equations of teili's DPI neuron and synapse (INI Zurich, after Chicca et al., Proceedings of the IEEE 102, 2014),
read in public copies and written anew; no code is theirs. Where they differ from the paper, and so from
:mod:`brian_dpi`:

- I_ahp, I_shunt and the synaptic currents rest at I_0, not at 0, so I_s is 2 I_0 at rest.
- I_shunt acts with at most I_mem.
- I_mem + I_0 is in the place of I_mem in the denominator.
- At I_mem ≤ I_0 the leak, the gain and the adaptation are I_0, and the positive feedback is 2 I_0.
- The positive feedback is a logistic function of I_mem, not a power: so ``feedback`` has to be 0 here.
"""

from __future__ import annotations

from brian_dpi import main  # type: ignore[import-not-found]  # the script beside this one

EQUATIONS = """
dI_mem/dt = int(not_refractory)*((G/L)*(I_in + A - S - H) - G - (1 + (S + H - A)/L)*I_mem)/(tau*L_0*(G/(I_mem + I_0) + 1)) : 1
up = int(I_mem > I_0) : 1
G = I_gain*up + I_0*(1 - up) : 1
L = I_tau*up + I_0*(1 - up) : 1
L_0 = I_tau/L : 1
A = 2*I_0*(1 - up) : 1
H = I_ahp*up + I_0*(1 - up) : 1
S = clip(I_shunt, I_0, clip(I_mem, I_0, 1e12)) : 1
I_in = clip(I_ampa + I_dc - I_gaba, I_0, 1e12) : 1
dI_ampa/dt = (I_0*int(I_ampa <= I_0) - I_ampa)/tau_ampa : 1
dI_gaba/dt = (I_0*int(I_gaba <= I_0) - I_gaba)/tau_gaba : 1
dI_shunt/dt = (I_0*int(I_shunt <= I_0) - I_shunt)/tau_shunt : 1
dI_ahp/dt = (I_0*int(I_ahp <= I_0) - I_ahp)/tau_ahp : 1
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

if __name__ == "__main__":
    main(EQUATIONS, ("I_ampa", "I_gaba", "I_shunt", "I_ahp"))
