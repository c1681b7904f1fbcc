"""DYNAP-SE2 (SynSense / INI Zurich): four cores of 256 analog neurons, 180 nm.

Sources, shortened below:

- *rockpool*: synsense/rockpool at commit 42cee1c96422, ``devices/dynapse`` (facts read off its tables, no code).
- *EBN arrays*: statistics of the measured arrays in synsense/Robust-Classification-EBN at a42ee6989e54, one core of one
  chip, one value per neuron and bias. The repository does not name the chip generation: it may be DYNAP-SE1.
- *Richter et al. 2024*: Neuromorph. Comput. Eng. 4, doi 10.1088/2634-4386/ad1cd7, through Open Neuromorphic.
- *DynapSim*: rockpool 3.1.0, ``devices/dynapse/simulation/dynapsim.py``, which solves the circuit equations of Chicca
  et al., Proceedings of the IEEE 102, 2014.
- *dynapse-simulator*: YigitDemirag/dynapse-simulator at 1026f31916c0, ``equations/dynapse_eq.py``, by authors of the
  INI, for DYNAP-SE1.

Version 1 had a weight CV of 0.10 everywhere and neither gradients, outliers, nor steps of τ; the own
part of each u is the same.
"""

from neurorobust.chip import (
    BitMaskedCurrents,
    Cam,
    ChipModel,
    Cost,
    Fixed,
    KindModel,
    Limits,
    NeuronModel,
    Range,
    Scaled,
    SourcedText,
    SourcedValue,
)
from neurorobust.chip.encodings import LogUniform
from neurorobust.chip.spatial import Surface
from neurorobust.chip.spreads import FromCv, SpreadTable
from neurorobust.chip.variability import LogNormal, Outliers, SettingDecorrelation

from . import dynapse1

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

neuron = NeuronModel(
    membrane=SourcedText(
        "A current: τ (1 + I_gain/I_mem) dI_mem/dt = …, slow near rest. Each neuron is of the exponential type, whose "
        "positive feedback fires it, or of the threshold type, which this model describes (see the notes in its card).",
        "coded",
        "DynapSim; two types: Richter et al. 2024",
        ("DPI membrane",),
    ),
    floor=SourcedText(
        "The leakage current I_0, at rest. A direct current, one value per core, lifts rest above the floor.",
        "coded",
        "DynapSim: every current is clipped at I_0",
        ("floor at rest", "floor below rest"),
    ),
    reset=SourcedText(
        "To the floor.", "coded", "DynapSim: the membrane is set to I_0 after a spike", ("reset to rest",)
    ),
    refractory=SourcedText(
        "0.44 µs to 2 s without input current, so the membrane stays at the floor.",
        "coded",
        "DynapSim; range computed from rockpool's bias tables",
        ("no refractory time", "refractory time that holds the membrane"),
    ),
    synapse=SourcedText(
        "Four filters per neuron (AMPA, NMDA, GABA, shunt) with a time constant each. The jump of an event follows "
        "from the length of its pulse, not from a time step. NMDA can be gated by the membrane.",
        "coded",
        "DynapSim; rockpool samna_alias: dendrites",
        ("one synaptic current", "synaptic currents by sign"),
    ),
    inhibition=SourcedText(
        "GABA is subtracted from the excitation, and the sum is clipped at I_0: it cannot discharge the membrane "
        "faster than the leak. Shunt is subtracted from the membrane and makes its leak larger.",
        "coded",
        "DynapSim clips the input current; dynapse-simulator: GABA_B and GABA_A of DYNAP-SE1",
        ("inhibition up to the excitation", "shunting inhibition"),
    ),
    adaptation=SourcedText(
        "A current that each spike makes larger. It is subtracted from the input and makes the leak larger. It can be "
        "switched off. The circuit also has homeostasis of the rate, not modelled.",
        "coded",
        "DynapSim; latch so_adaptation in rockpool samna_alias; homeostasis: Richter et al. 2024",
        ("no adaptation", "adaptation current"),
    ),
    signs=SourcedText(
        "Each synapse chooses its filter, and so its sign: a neuron can excite some neurons and inhibit others.",
        "coded",
        "rockpool samna_alias: one dendrite per synapse",
        model="As on silicon: a weight > 0 is AMPA, a weight < 0 is GABA.",
    ),
    fan_out=SourcedText(
        "64 synapses per neuron. A neuron has 4 entries for destination chips; one entry reaches all cores of a chip. "
        "So fan-out on one chip is free. An entry is needed to monitor the neuron. Tags have 11 bits.",
        "coded",
        "rockpool samna_alias and lookup/defaults.py",
        model="Fan-in, cores, neurons and one tag for each input and neuron are checked. One chip is assumed.",
    ),
    settings=SourcedText(
        "One value per core for every bias: time constants, threshold, gains, refractory time, direct current, and the "
        "four currents that weights are sums of.",
        "coded",
        "rockpool lookup/defaults.py",
        model="As on silicon. Values that differ inside a core are refused. Each deviates on every neuron.",
    ),
    readout=SourcedText(
        "Spikes go to the host. The membrane of one neuron per core can be watched. No circuit adds up classes.",
        "coded",
        "rockpool samna_alias: one monitored neuron per core",
        model="The read-out of our tasks is on the host.",
    ),
    time_base=SourcedText(
        "Continuous time, asynchronous events.",
        "published",
        "Richter et al. 2024",
        model="Steps of dt. A recurrent spike arrives one step later.",
    ),
    only_in_silicon=SourcedText(
        "I_gain apart from I_τ, direct current, pulse lengths, capacitances, κ and U_T of every neuron, each synaptic "
        "filter by itself; differences between cores and between chips; temperature.",
        "coded",
        "rockpool simulation/mismatch_prototype.py draws all currents and layout constants, 10 % each",
        model="One deviation per kind and neuron, one per synapse; r with tau_mem. No part common to a core or a chip.",
    ),
    only_in_model=SourcedText(
        "A weight is a sum of four currents of the core, mirrored in each synapse: every bit deviates by itself.",
        "assumed",
        "from the representation in rockpool devices/dynapse; mismatch of single bits is not published",
        model="One deviation for all bits of a synapse. The CV of weights is that of EPSP peaks, which already contain "
        "the spread of membrane and filter: these are counted twice.",
    ),
)

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
    inputs=SourcedText(
        "Events with a tag, which every synapse that listens to it gets. No input is a number.",
        "coded",
        "rockpool samna_alias: input events with tags of 11 bits",
        ("events",),
        model="Counts of events in a step; other numbers are named in a warning.",
    ),
    neuron=neuron,
    costs=(
        *dynapse1.costs(f"as on DYNAP-SE1, no figure of this chip was found: {dynapse1.EVENTS}"),
        Cost("whole chip", "seconds", "J", 5e-3, 5e-3, "assumed", "Open Neuromorphic's page: about 5 mW"),
    ),
    architecture=Cam(
        cores=4,
        neurons=256,
        entries=64,
        destinations=4,
        tags=2048,
        status="coded",
        source="rockpool lookup/defaults.py (coded); Richter et al. 2024 (published)",
        others={"destinations": ("coded", "rockpool samna_alias: 4 entries for destination chips, one to monitor")},
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
        "The equations are those of the network: AdaptiveLif has no floor, subtracts the threshold at a reset and "
        "raises the threshold to adapt; LinearizedDpi is a linearisation of the circuit. See the audit.",
        "The model describes the threshold type of neuron. In the exponential type the positive feedback fires the "
        "neuron at a current that the leak sets, I_τ (I_τ/I_0)^(1/κ), not at Ispkthr. With the constants of DynapSim "
        "(κ 0.705, I_0 0.5 pA, C 3 pF) that is 152 pA at tau_mem 20 ms, 28 pA at 40 ms, 5.3 pA at 80 ms and 1.0 pA at "
        "160 ms, and I_gain = 4 I_τ is 21, 11, 5.3 and 2.7 pA: at 80 to 160 ms no range is left for a threshold. With "
        "7.7 pF (Richter et al.) it is 52 and 9.7 pA. In the threshold type Ispkthr can be far above I_gain: "
        "dynapse-simulator uses 1 nA beside 0.9 pA for DYNAP-SE1.",
        "v_threshold at 100 nA is the default of a simulator, not an operating point that somebody measured. The scale "
        "of the weights (8 nA) and that of the threshold are chosen apart, but on the chip both have to hold together. "
        "With gains of 4 I_τ, the default, an event through 8 nA lifts the membrane by 128 nA · t_pulse/tau_mem only "
        "(linear equations): a thousandth of the threshold for a pulse of tau_mem/1000. So the threshold has to be "
        "lower, or the gain of the synaptic filters, which is free, larger. Such a setting was not worked out here. "
        "Dies do not depend on the 100 nA: the spread of the threshold is the same at every current.",
        "Input events, routing and time are exact. Every array is one core of one chip: differences between cores or "
        "chips are unknown, so only the gradient is a shared component. No drift is known.",
    ),
)
