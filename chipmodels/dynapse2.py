"""DYNAP-SE2 (SynSense / INI Zurich): four cores of 256 analog neurons, 180 nm.

Sources, shortened below:

- *rockpool*: synsense/rockpool at commit 42cee1c96422, ``devices/dynapse`` (facts read off its tables, no code).
- *EBN arrays*: statistics of the measured arrays in synsense/Robust-Classification-EBN at a42ee6989e54, one core of one
  chip, one value per neuron and bias. The repository does not name the chip generation: it may be DYNAP-SE1.
- *Richter et al. 2024*: Neuromorph. Comput. Eng. 4, doi 10.1088/2634-4386/ad1cd7, through Open Neuromorphic.

Version 1 had a weight CV of 0.10 everywhere and neither gradients, outliers, nor steps of τ; the own
part of each u is the same.
"""

from neurorobust.chip import BitMaskedCurrents, ChipModel, Fixed, KindModel, Limits, Range, Scaled, SourcedValue
from neurorobust.chip.encodings import LogUniform
from neurorobust.chip.spatial import Surface
from neurorobust.chip.spreads import FromCv, SpreadTable
from neurorobust.chip.variability import LogNormal, Outliers, SettingDecorrelation

EPSP = SourcedValue(
    7.5e6, "assumed", "V of EPSP for each A of weight current: 8 nA at 60 mV, where the EPSP is still linear"
)
# EPSP peak, V, and CV over 256 neurons.
SLOW_WEIGHT = (
    (0.0075, 0.172),
    (0.0107, 0.143),
    (0.0208, 0.121),
    (0.0420, 0.099),
    (0.0788, 0.081),
    (0.1060, 0.077),
    (0.1610, 0.059),
    (0.1860, 0.042),
)
STEP = 0.0063
TURN = 0.35
TAU_MEM = Range(7.7e-8, 0.353, "coded", "computed from rockpool's bias tables, C_mem = 3 pF; Richter et al. say to 5 s")
TAU_SYN = Range(1.9e-6, 11.7, "coded", "computed from rockpool's bias tables, AMPA 24.5 pF; below 1 s is usable")

_CODED = SourcedValue(
    0.1, "coded", "rockpool transform/mismatch.py: 0.30 at 3 sigma on every current; not published for this one"
)
_tau_mem = KindModel(
    Outliers(LogNormal.from_cv(0.08), 0.02, 1.3, 2.8),
    SourcedValue(0.08, "measured", "EBN arrays: bulk of 256 neurons, constant from 5.7 to 50 ms"),
    per_core=True,
    range=TAU_MEM,
    encoding=Fixed(LogUniform(TAU_MEM.low, TAU_MEM.high, STEP)),
)
_coded = KindModel(LogNormal.from_cv(0.1), _CODED, per_core=True)

chip = ChipModel(
    name="dynapse2",
    title="DYNAP-SE2, 4 cores × 256 analog neurons",
    version=2,
    kinds={
        "weight": KindModel(
            SettingDecorrelation(
                LogNormal(FromCv(SpreadTable(tuple((volt / EPSP.value, cv) for volt, cv in SLOW_WEIGHT)))),
                rate=TURN,
                reference=0.042 / EPSP.value,
            ),
            SourcedValue(0.099, "measured", "EBN arrays: slow excitatory EPSP peak at 42 mV; see notes", at=5.6e-9),
            encoding=BitMaskedCurrents(
                bits=4,
                largest=SourcedValue(8e-9, "coded", "rockpool lookup/defaults.py: base weights 1, 2, 4, 8 nA"),
                range=Range(8.2e-14, 4.94e-7, "coded", "computed from rockpool's bias tables"),
            ),
            shared=(Surface(0.36, "gradient"),),
        ),
        "tau_mem": _tau_mem,
        "r": KindModel(_tau_mem.law, _tau_mem.cv, per_core=True, shares_deviate_of="tau_mem"),
        "tau_syn": KindModel(_coded.law, _CODED, True, TAU_SYN, Fixed(LogUniform(TAU_SYN.low, TAU_SYN.high, STEP))),
        "tau_adapt": _coded,
        "adaptation": _coded,
        "v_threshold": KindModel(
            _coded.law,
            _CODED,
            per_core=True,
            encoding=Scaled(SourcedValue(1e-7, "coded", "rockpool lookup/defaults.py: Ispkthr 1e-7 A"), "A"),
        ),
        "t_ref": KindModel(
            _coded.law,
            _CODED,
            per_core=True,
            range=Range(4.4e-7, 2.0, "coded", "computed from rockpool's bias tables; Richter et al. say 0.75 to 1.5 s"),
        ),
        "bias": _coded,
    },
    limits=Limits(
        cores=4,
        neurons_per_core=256,
        fan_in=64,
        fan_out=4,
        tags=2048,
        status="coded",
        source="rockpool lookup/defaults.py (coded); Richter et al. 2024 (published)",
    ),
    facts={
        "EPSP for each weight current": EPSP,
        "weight: share of a smooth surface": SourcedValue(
            0.36, "measured", "EBN arrays: 33 to 39 % of the log variance is quadratic in row and column of 16 × 16"
        ),
        "weight: turn for each e-fold of current": SourcedValue(
            TURN, "assumed", "EBN arrays: a second component has 7 to 13 % of the log variance over settings"
        ),
        "tau_mem: outliers": SourcedValue(
            0.02, "measured", "EBN arrays: 4 to 7 of 256 neurons beyond 5 MAD, 1.3 to 2.8 times"
        ),
        "relative step of the bias generator": SourcedValue(
            STEP, "coded", "rockpool lookup/paramgen.py: median; assumed uniform in the logarithm"
        ),
    },
    notes=(
        "Laws are lognormal and keep the median; 256 measured neurons prefer it to the normal for slow weights.",
        "The measured weight is the EPSP's peak in volts, which also holds the spread of membrane and synapse. Below "
        "20 mV the recording floor adds to its CV (at 7.5 mV the chip's part is 0.135 or 0.225, taken here: 0.172), "
        "above 60 mV the EPSP saturates.",
        "Assumed: the CV of EPSP peaks holds for weight currents, 8 nA being 60 mV, one deviate for every synapse; all "
        "synapses of a neuron share its place on the gradient, excitatory and inhibitory alike.",
        "r shares the deviate of tau_mem: in a DPI neuron τ = C·U_T/(κ·I_τ) and the gain is I_gain/I_τ; the leak "
        "current moves both. Assumed: the gain of a network without r is constant.",
        "A weight is a 4-bit mask over four currents shared by all synapses into a core; AMPA is +, GABA is −.",
        "The gain puts the largest of the four currents at 8 nA and v_threshold at 100 nA, core by core.",
        "Approximations of the circuit: adaptation current as a rising threshold, reset to ground as subtraction.",
        "Input events, routing and time are exact. Every array is one core of one chip: differences between cores or "
        "chips are unknown, so only the gradient is a shared component. No drift is known.",
    ),
)
