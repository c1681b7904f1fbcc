"""DYNAP-SE2 (SynSense / INI Zurich): four cores of 256 analog neurons, 180 nm.

Sources, shortened below:

- *rockpool*: synsense/rockpool at commit 42cee1c96422, ``devices/dynapse`` (facts read off its tables, no code).
- *EBN arrays*: statistics of the measured arrays in synsense/Robust-Classification-EBN at a42ee6989e54, one core of one
  chip, one value per neuron and bias. The repository does not name the chip generation: it may be DYNAP-SE1.
- *Richter et al. 2024*: Neuromorph. Comput. Eng. 4, doi 10.1088/2634-4386/ad1cd7, through Open Neuromorphic.
"""

from neurorobust.chip import ChipModel, Fact, KindModel, Limits, Range, WeightCodec
from neurorobust.laws import LogNormal


def _kind(cv: Fact, per_core: bool = True, range: Range | None = None) -> KindModel:
    return KindModel(LogNormal.from_cv(cv.value), cv, per_core, range)


_CODED = Fact(
    0.1, "coded", "rockpool transform/mismatch.py: 0.30 at 3 sigma on every current; nobody published this one"
)

chip = ChipModel(
    name="dynapse2",
    title="DYNAP-SE2, 4 cores × 256 analog neurons",
    kinds={
        "weight": _kind(
            Fact(0.10, "measured", "EBN arrays: slow excitatory EPSP peak at 42 mV, whatever the gain; see notes"),
            False,
        ),
        "tau_mem": _kind(
            Fact(0.08, "measured", "EBN arrays: bulk of 256 neurons, constant from 5.7 to 50 ms"),
            range=Range(7.7e-8, 0.353, "coded", "computed from rockpool's bias tables, C_mem = 3 pF"),
        ),
        "tau_syn": _kind(
            _CODED, range=Range(1.9e-6, 11.7, "coded", "computed from rockpool's bias tables, AMPA 24.5 pF")
        ),
        "tau_adapt": _kind(_CODED),
        "adaptation": _kind(_CODED),
        "v_threshold": _kind(_CODED),
        "bias": _kind(_CODED),
    },
    limits=Limits(
        cores=4,
        neurons_per_core=256,
        fan_in=64,
        tags=2048,
        source="rockpool lookup/defaults.py (coded); Richter et al. 2024 (published)",
    ),
    codec=WeightCodec(
        bits=4,
        largest=Fact(8e-9, "coded", "rockpool lookup/defaults.py: base weights 1, 2, 4, 8 nA"),
        range=Range(8.2e-14, 4.94e-7, "coded", "computed from rockpool's bias tables"),
    ),
    threshold=Fact(1e-7, "coded", "rockpool lookup/defaults.py: Ispkthr 1e-7 A"),
    notes=(
        "Laws are lognormal and keep the median; 256 measured neurons prefer it to the normal for slow weights.",
        "Assumed: the CV of EPSP peaks holds for weight currents, with one deviate for every synapse.",
        "Measured weight CVs run from 0.20 at 5 mV to 0.04 at 186 mV; one number stands for all of them here.",
        "A weight is a 4-bit mask over four currents shared by all synapses into a core; AMPA is +, GABA is −.",
        "The gain puts the largest of the four currents at 8 nA and v_threshold at 100 nA, core by core.",
        "Steps of the bias generator (0.63 % in the median) are not modelled yet: τ and thresholds stay as trained.",
        "Approximations of the circuit: adaptation current as a rising threshold, reset to ground as subtraction.",
        "Input events, routing and time are exact; 16×16 spatial gradients and 2 % outliers in tau_mem are left out.",
    ),
)
