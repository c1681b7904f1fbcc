"""DYNAP-SE1 (INI Zurich): four cores of 256 analog neurons; a weight is a number of equal synapses.

Sources, shortened below:

- *rockpool*: synsense/rockpool, ``docs/devices/DynapSE/dynapse1.ipynb`` at 114e3c9c7a37 and ``biasgen.py`` at
  020f51761a68.
- *Moradi 2018*: IEEE TBioCAS 12(1), from memory, to verify.
- *teili*: the INI's Brian 2 toolbox, mismatch dictionaries.
- *dynapse-simulator*: YigitDemirag/dynapse-simulator at 1026f31916c0, ``equations/dynapse_eq.py``, by authors of the
  INI: the equations of this chip for Brian 2.
- *samna docs*: the introduction to DYNAP-SE1 in SynSense's documentation of samna.

The measured arrays behind ``dynapse2`` may come from this chip: their file names fit its bias names.
"""

from neurorobust.chip import (
    Cam,
    ChipModel,
    Cost,
    KindModel,
    Limits,
    NeuronModel,
    Range,
    Scaled,
    SourcedText,
    SourcedValue,
    SynapseCounts,
)
from neurorobust.chip.variability import LogNormal

_MEMORY = "Moradi 2018, from memory, to verify"
_cv = SourcedValue(0.2, "coded", "teili: 20 % on capacitances and every bias current; DynapSEtorch codes 10 %")
_bias = KindModel(LogNormal.from_cv(_cv.value), _cv, per_core=True)

_SIMULATOR = "dynapse-simulator dynapse_eq.py"
neuron = NeuronModel(
    membrane=SourcedText(
        "A current: τ (1 + I_gain/I_mem) dI_mem/dt = …, slow near rest. Positive feedback fires the neuron.",
        "coded",
        _SIMULATOR,
        ("DPI membrane",),
    ),
    floor=SourcedText(
        "The leakage current I_0, at rest. A constant current lifts rest above the floor.",
        "coded",
        f"{_SIMULATOR}: every current is clipped at I_0",
        ("floor at rest", "floor below rest"),
    ),
    reset=SourcedText(
        "To a current near the floor, one for all neurons.",
        "coded",
        f"{_SIMULATOR}: Isoma_reset; parameters/dynapse_param.py: 0.6 pA",
        ("reset to rest",),
    ),
    refractory=SourcedText(
        "The membrane stays at its reset value.",
        "coded",
        f"{_SIMULATOR}: soma_refP",
        ("no refractory time", "refractory time that holds the membrane"),
    ),
    synapse=SourcedText(
        "Four filters per neuron (AMPA, NMDA, GABA_A, GABA_B), each with its τ. NMDA is gated by the membrane.",
        "coded",
        _SIMULATOR,
        ("one synaptic current", "synaptic currents by sign"),
    ),
    inhibition=SourcedText(
        "GABA_B is subtracted from the excitation, and the sum is clipped at I_0: it cannot discharge the membrane "
        "faster than the leak. GABA_A is subtracted from the membrane and makes its leak larger.",
        "coded",
        _SIMULATOR,
        ("inhibition up to the excitation", "shunting inhibition"),
    ),
    adaptation=SourcedText(
        "A current that each spike makes larger. It is subtracted from the input and makes the leak larger.",
        "coded",
        _SIMULATOR,
        ("no adaptation", "adaptation current"),
    ),
    signs=SourcedText(
        "Each synapse is of one of four types, two of each sign: a neuron can excite some neurons and inhibit others.",
        "published",
        "samna docs: types of synapses",
        model="As on silicon: one strength per core for excitation and one for inhibition.",
    ),
    fan_out=SourcedText(
        "64 synapses per neuron, one for each unit of weight. 4 entries for destinations, tags of 10 bits.",
        "published",
        f"samna docs: 64 synapses; the rest: {_MEMORY}",
        model="Synapses, cores, neurons and one tag for each input and neuron are checked. One chip is assumed.",
    ),
    settings=SourcedText(
        "One value per core for all parameters of neurons and synapses.",
        "published",
        "samna docs: neurons of a core share a parameter group",
        model="As on silicon. Values that differ inside a core are refused. Each deviates on every neuron.",
    ),
    readout=SourcedText(
        "Spikes go to the host. No circuit adds up classes.",
        "assumed",
        "as DYNAP-SE2",
        model="The read-out of our tasks is on the host.",
    ),
    time_base=SourcedText(
        "Continuous time, asynchronous events.",
        "assumed",
        _MEMORY,
        model="Steps of dt. A recurrent spike arrives one step later.",
    ),
    only_in_silicon=SourcedText(
        "Capacitances, and each bias current by itself: gains, thresholds of NMDA, reference currents; differences "
        "between cores and between chips; temperature.",
        "coded",
        "teili: 20 % on each of them",
        model="One deviation per kind and neuron, one per pair of neurons; r with tau_mem.",
    ),
    only_in_model=SourcedText(
        "A weight is several synapses of the same two neurons, each with a deviation of its own.",
        "assumed",
        "from the representation of weights; mismatch of synapses of one pair is not published",
        model="One deviation for all synapses of a pair: the spread of large weights is overstated.",
    ),
)

EVENTS = "Moradi et al. 2018 as its users quote it, at 1.3 and 1.8 V; from memory, in no text that was found"
_PER_EVENT = (
    ("spike of a neuron", "spikes", 260e-12, 883e-12),
    ("encoding of a spike", "spikes", 507e-12, 883e-12),
    ("broadcast in a core", "broadcasts", 2.2e-9, 6.84e-9),
    ("route to another core", "routes", 78e-12, 360e-12),
    ("pulse of a synapse", "synaptic operations", 26e-12, 324e-12),
)


def costs(source: str) -> tuple[Cost, ...]:
    """The figures of this chip, said of a chip by a source."""
    return tuple(Cost(what, per, "J", low, high, "assumed", source) for what, per, low, high in _PER_EVENT)


chip = ChipModel(
    name="dynapse1",
    title="DYNAP-SE1, 4 cores × 256 analog neurons",
    kinds={
        "weight": KindModel(_bias.law, _cv, encoding=SynapseCounts(64)),
        "tau_mem": KindModel(
            _bias.law,
            _cv,
            per_core=True,
            range=Range(
                4e-9, 1.8, "coded", "computed from rockpool's biasgen.py with C_mem 3 pF; the ends are unusable"
            ),
        ),
        "r": KindModel(_bias.law, _cv, per_core=True, shares_deviate_of="tau_mem"),
        "tau_syn": _bias,
        "tau_adapt": _bias,
        "adaptation": _bias,
        "v_threshold": KindModel(
            _bias.law,
            _cv,
            per_core=True,
            encoding=Scaled(SourcedValue(1e-7, "assumed", "as on DYNAP-SE2"), "A"),
        ),
        "t_ref": _bias,
        "bias": _bias,
    },
    limits=Limits(
        cores=4,
        neurons_per_core=256,
        fan_in=64,
        fan_out=4,
        tags=1024,
        status="coded",
        source="rockpool dynapse1.ipynb",
        others={
            "neurons_per_core": ("published", "samna docs: 256 neurons per core"),
            "fan_out": ("assumed", _MEMORY),
            "tags": ("assumed", f"{_MEMORY}: 10 bits"),
        },
    ),
    inputs=SourcedText(
        "Events with a tag. No input is a number.",
        "assumed",
        _MEMORY,
        ("events",),
        model="Counts of events in a step; other numbers are named in a warning.",
    ),
    neuron=neuron,
    costs=costs(EVENTS),
    architecture=Cam(
        cores=4,
        neurons=256,
        entries=64,
        destinations=4,
        tags=1024,
        status="coded",
        source="rockpool dynapse1.ipynb",
        others={
            "neurons": ("published", "samna docs: 256 neurons per core"),
            "destinations": ("assumed", _MEMORY),
            "tags": ("assumed", f"{_MEMORY}: 10 bits"),
        },
    ),
    notes=(
        "A weight is the number of synapses of a pair of neurons, times one strength per core for excitation and one "
        "for inhibition. A neuron has 64 synapses in total: fewer inputs allow finer weights.",
        "The 20 % are coded in a simulator, not measured; one source codes 10 %. Laws are lognormal, and every pair of "
        "neurons has one deviate for all its synapses: assumed.",
        "The step of the bias generator (8 coarse × 256 fine) is not modelled; its ranges in use are not known.",
        "r shares the deviate of tau_mem, as in every DPI neuron; the gain of a network without r is constant. No "
        "drift is known.",
    ),
)
