"""ROLLS (INI Zurich): 256 analog neurons with 512 synapses each, short-term plastic or bistable.

Sources, shortened below:

- *Qiao 2015*: Front. Neurosci. 9:141, abstract.
- *Open Neuromorphic*: its page on ROLLS at 28f50836c0c1, which cites Qiao 2015.
"""

from neurorobust.chip import ChipModel, Cost, KindModel, Limits, NeuronModel, Rows, Scaled, SourcedText, SourcedValue
from neurorobust.chip.encodings import SignedPair
from neurorobust.chip.variability import LogNormal

_other = SourcedValue(0.2, "assumed", "not published; from a simulator of its sister DYNAP-SE1 (teili)")
_rate = SourcedValue(
    0.094, "published", "Open Neuromorphic: 9.4 % over neurons in their response to current; one number"
)
_bias = KindModel(LogNormal.from_cv(_other.value), _other, per_core=True)

_SISTER = "as DYNAP-SE1, by the same group; to verify in Qiao 2015"
neuron = NeuronModel(
    membrane=SourcedText(
        "An adaptive exponential integrate-and-fire circuit; assumed: its membrane is a current, as in a DPI neuron.",
        "assumed",
        f"adaptive exponential: Open Neuromorphic (published); a DPI circuit: {_SISTER}",
        ("DPI membrane",),
    ),
    floor=SourcedText("The leakage current, at rest.", "assumed", _SISTER, ("floor at rest", "floor below rest")),
    reset=SourcedText("To rest.", "assumed", _SISTER, ("reset to rest",)),
    refractory=SourcedText(
        "There is one; assumed: the membrane stays at its reset value.",
        "assumed",
        f"Open Neuromorphic: a refractory period (published); that it holds the membrane: {_SISTER}",
        ("no refractory time", "refractory time that holds the membrane"),
    ),
    synapse=SourcedText(
        "Filters with shorter time constants for the short-term plastic synapses (AMPA, GABA), longer ones for the "
        "bistable ones (NMDA).",
        "published",
        "Open Neuromorphic",
        ("one synaptic current", "synaptic currents by sign"),
    ),
    inhibition=SourcedText(
        "unknown: GABA-like synapses; whether they subtract or shunt was not found.",
        "unknown",
        "Open Neuromorphic names them only",
    ),
    adaptation=SourcedText(
        "Of the spike frequency and of the threshold.",
        "published",
        "Open Neuromorphic",
        ("no adaptation", "adaptation current", "adaptive threshold"),
    ),
    signs=SourcedText(
        "The type of each synapse is configured digitally.",
        "published",
        "Open Neuromorphic",
        model="Each synapse has a sign of its own.",
    ),
    fan_out=SourcedText(
        "512 synapses per neuron, half of them bistable. A demultiplexer can give neurons the synapses of others.",
        "published",
        "Qiao 2015, abstract: 128K synapses, 256 neurons; Open Neuromorphic: demultiplexer",
        model="At most 256 inputs per neuron; no demultiplexer.",
    ),
    settings=SourcedText(
        "13 biases for all neurons together.",
        "published",
        "Open Neuromorphic: 13 tunable biases",
        model="As on silicon. Values that differ are refused. Each deviates on every neuron.",
    ),
    readout=SourcedText(
        "Spikes go out asynchronously; converters can watch internal signals.",
        "published",
        "Open Neuromorphic",
        model="The read-out of our tasks is on the host.",
    ),
    time_base=SourcedText(
        "Continuous time, asynchronous events.",
        "published",
        "Open Neuromorphic: asynchronous input and output",
        model="Steps of dt. A recurrent spike arrives one step later.",
    ),
    only_in_silicon=SourcedText(
        "unknown: only the rates of neurons for a current were published.",
        "unknown",
        "",
        model="One deviation per kind and neuron, one per synapse; r with tau_mem.",
    ),
    only_in_model=SourcedText(
        "The published 9.4 % are of rates, to which everything in a neuron adds.",
        "published",
        "Open Neuromorphic",
        model="It is put on the threshold alone; 20 % are assumed for all other kinds, so rates vary by more.",
    ),
)

chip = ChipModel(
    name="rolls",
    title="ROLLS, 256 analog neurons",
    kinds={
        "weight": KindModel(
            _bias.law,
            _other,
            encoding=Scaled(
                SourcedValue(3, "published", "Open Neuromorphic: 2 bits for a short-term plastic synapse"),
                "LSB",
                SignedPair(2, 1.0),
            ),
        ),
        "v_threshold": KindModel(LogNormal.from_cv(_rate.value), _rate, per_core=True),
        "tau_mem": _bias,
        "r": KindModel(_bias.law, _other, per_core=True, shares_deviate_of="tau_mem"),
        "tau_syn": _bias,
        "tau_adapt": _bias,
        "adaptation": _bias,
        "t_ref": _bias,
        "bias": _bias,
    },
    limits=Limits(
        cores=1,
        neurons_per_core=256,
        fan_in=256,
        status="published",
        source="Qiao 2015",
        others={
            "fan_in": ("assumed", "131072 synapses for 256 neurons (Qiao 2015), half of them of either type: memory")
        },
    ),
    inputs=SourcedText(
        "Events, asynchronous.",
        "published",
        "Open Neuromorphic: asynchronous input and output",
        ("events",),
        model="Counts of events in a step; other numbers are named in a warning.",
    ),
    neuron=neuron,
    costs=(
        Cost(
            "synaptic event",
            "synaptic operations",
            "J",
            77e-15,
            77e-15,
            "assumed",
            "Indiveri et al. 2015, from memory",
        ),
        Cost(
            "whole chip", "seconds", "J", 4e-3, 4e-3, "assumed", "Qiao et al. 2015, abstract, from memory: about 4 mW"
        ),
    ),
    architecture=Rows(
        cores=1,
        neurons=256,
        rows=256,
        rows_per_input=1,
        status="published",
        source="Qiao 2015",
        others={
            "rows": ("assumed", "131072 synapses for 256 neurons (Qiao 2015), half of them of either type: memory"),
            "rows_per_input": ("assumed", "the sign of a short-term plastic synapse is chosen synapse by synapse"),
        },
    ),
    notes=(
        "Weights are those of the 256 short-term plastic synapses of a neuron, four levels of either sign; the 256 "
        "bistable ones (1 bit) and all plasticity are left out.",
        "The one published spread, 9.4 % of the neurons' rates for a current, is put on the threshold, which sets that "
        "rate; everything else is assumed.",
        "Neuron biases are shared by all neurons. r shares the deviate of tau_mem, as in every DPI neuron; "
        "the gain of a network without r is constant. No drift is known.",
    ),
)
