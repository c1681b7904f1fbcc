"""Braindrop (Stanford): 4096 subthreshold neurons with digital weights, 28 nm.

Sources, shortened below:

- *pystorm*: Stanford-BIS/pystorm at 4acaaee78a04: ``hal/neuromorph/core_pars.py``, ``bddriver/common``.
- *BD arrays*: statistics of ``calibration/data/cal_db_activation.csv`` and ``cal_db_synapse.csv`` in pystorm at
  ad34553a6236: which of 4096 neurons of two chips fire without input at bias −3.
- *Neckar 2019*: Proc. IEEE 107(1), abstract.
"""

from neurorobust.chip import ChipModel, Cost, KindModel, Limits, NeuronModel, Pool, Scaled, SourcedText, SourcedValue
from neurorobust.chip.encodings import LevelTable, SignedPair
from neurorobust.chip.spatial import GaussianField
from neurorobust.chip.variability import Exact, LogNormal, Offset

_unknown = SourcedValue(0.2, "assumed", "not published; exponential in a threshold voltage, hence lognormal")
_offset = SourcedValue(1.0, "assumed", "in steps of the bias; the arrays fix its pattern over the chip, not its size")
_analog = KindModel(LogNormal.from_cv(_unknown.value), _unknown)
_field = GaussianField(0.47, "offset", length=3.7)

neuron = NeuronModel(
    membrane=SourcedText(
        "unknown: a subthreshold analog circuit; its equation was not found.",
        "unknown",
        "Neckar 2019, abstract: subthreshold analog circuits",
    ),
    floor=SourcedText("unknown", "unknown", ""),
    reset=SourcedText("unknown", "unknown", ""),
    refractory=SourcedText(
        "One bias current for all neurons sets it. Whether it holds the membrane was not found.",
        "coded",
        "pystorm BDPars.cpp: DAC_SOMA_REF",
    ),
    synapse=SourcedText(
        "1024 filters with one leak bias for all. Each feeds neighbouring neurons through a resistive diffusor.",
        "coded",
        "pystorm core_pars.py and BDPars.cpp: DAC_SYN_LK, DAC_DIFF_G, DAC_DIFF_R",
        ("one synaptic current",),
    ),
    inhibition=SourcedText(
        "A filter is fed with either sign, with one bias each. Whether inhibition can go below 0 was not found.",
        "coded",
        "pystorm calibrator.py: tap points −1, 0, 1; BDPars.cpp: DAC_SYN_EXC, DAC_SYN_INH",
    ),
    adaptation=SourcedText(
        "None: no bias sets one.", "coded", "pystorm BDPars.cpp: the twelve converters", ("no adaptation",)
    ),
    signs=SourcedText(
        "A tap point of a filter is −1, 0 or 1; digital weights of accumulators have either sign.",
        "coded",
        "pystorm calibrator.py, BDWord.h",
        model="Each synapse has a weight of its own with either sign.",
    ),
    fan_out=SourcedText(
        "Spikes are added up with weights in 1024 digital accumulators, whose spikes go to filters, which feed areas "
        "of neurons. No synapse connects two neurons.",
        "coded",
        "pystorm core_pars.py",
        model="Neurons have synapses of their own, 1024 at most; accumulators and the diffusor are left out.",
    ),
    settings=SourcedText(
        "Twelve biases for the whole chip; for each neuron a gain of 1, 1/2, 1/3 or 1/4 and a bias from −3 to 3.",
        "coded",
        "pystorm BDPars.cpp, calibrator.py",
        model="Gain and bias as on silicon. Time constants and thresholds may differ from neuron to neuron, which the "
        "chip cannot do.",
    ),
    readout=SourcedText(
        "Weighted sums of spikes leave the accumulators as spikes; an FPGA beside the chip filters them.",
        "coded",
        "pystorm BrainDrizzle.md: spike filters",
        model="The read-out of our tasks is on the host.",
    ),
    time_base=SourcedText(
        "Continuous time, asynchronous events.",
        "assumed",
        "from memory, to verify",
        model="Steps of dt. A recurrent spike arrives one step later.",
    ),
    only_in_silicon=SourcedText(
        "Filters, their pulse lengths, the diffusor; temperature.",
        "coded",
        "pystorm calibrator.py: calibrations of synapses; temperature: Neckar 2019",
        model="Neurons deviate, shared filters do not.",
    ),
    only_in_model=SourcedText(
        "No spread of any time constant, gain or threshold was found; of the bias only its pattern.",
        "unknown",
        "",
        model="20 % are assumed for each of them, independent from neuron to neuron, also where one filter is shared.",
    ),
)

chip = ChipModel(
    name="braindrop",
    title="Braindrop, 64 × 64 analog neurons with digital weights",
    kinds={
        "weight": KindModel(
            Exact(),
            SourcedValue(0.0, "coded", "pystorm: digital weights on accumulators"),
            encoding=Scaled(
                SourcedValue(127, "coded", "pystorm BDWord.h: 8 bits, one's complement"), "LSB", SignedPair(7, 1.0)
            ),
        ),
        "bias": KindModel(
            Offset(_offset.value),
            _offset,
            # Code 0 is a millionth of a step, so that an offset can act on it.
            encoding=Scaled(
                SourcedValue(3, "coded", "pystorm: bias −3 to 3"),
                "steps",
                LevelTable((-3.0, -2.0, -1.0, 1e-6, 1.0, 2.0, 3.0)),
            ),
            shared=(_field,),
        ),
        "r": KindModel(
            _analog.law,
            _unknown,
            encoding=Scaled(
                SourcedValue(1, "coded", "pystorm: gain divided by 1, 2, 3 or 4"),
                "",
                LevelTable((1.0, 1 / 2, 1 / 3, 1 / 4)),
            ),
        ),
        "tau_mem": _analog,
        "tau_syn": _analog,
        "v_threshold": _analog,
        "t_ref": _analog,
    },
    limits=Limits(
        cores=1,
        neurons_per_core=4096,
        fan_in=1024,
        tags=2048,
        status="coded",
        source="pystorm core_pars.py",
        others={"neurons_per_core": ("published", "Neckar 2019")},
    ),
    grid=(64, 64),
    inputs=SourcedText(
        "Spikes, which the accumulators add up with weights.",
        "coded",
        "pystorm core_pars.py",
        ("events",),
        model="Counts of events in a step; other numbers are named in a warning.",
    ),
    neuron=neuron,
    costs=(
        Cost(
            "equivalent synaptic operation",
            "synaptic operations",
            "J",
            381e-15,
            381e-15,
            "published",
            "Neckar et al. 2019, abstract: typical networks; an equivalent operation is one of an all-to-all network",
        ),
    ),
    architecture=Pool(
        cores=1,
        neurons=4096,
        filters=1024,
        tags=2048,
        status="coded",
        source="pystorm core_pars.py",
        others={"neurons": ("published", "Neckar 2019")},
    ),
    facts={
        "bias: share of a smooth field": SourcedValue(
            0.47,
            "measured",
            "BD arrays: neighbours correlate by 0.29 to 0.31, neurons 4 apart by 0.15 to 0.19; from "
            "the correlation of signs to that of a normal field",
        ),
        "bias: length of the field, neurons": SourcedValue(3.7, "measured", "BD arrays: as above"),
        "synapses flagged and left out": SourcedValue(
            0.208, "measured", "BD arrays: 213 of 1024 of one chip, no pattern"
        ),
    },
    notes=(
        "The measured values are binary: their pattern over the chip fixes the field's share and length, not its size "
        "in steps, which is assumed. Part of the pattern is the diffusor that shares synapse bias among neighbours.",
        "More than half of the neurons fire without input at bias −3, so offsets have a mean. Assumed: programming "
        "removes it, as the calibration of gain and bias does.",
        "Two chips are nearly independent (correlation 0.046). 20.8 % of the synapses of one chip are left out by the "
        "calibration; assumed: the network uses the good ones (with_defects(BadSynapses(0.208)) uses them all).",
        "Inputs come through 1024 shared analog filters and a resistive diffusor, which are not modelled.",
        "The chip is sensitive to temperature (Neckar 2019), without a number. No drift is known.",
    ),
)
