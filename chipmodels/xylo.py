"""Xylo Audio 2 (SynSense): a digital spiking processor: quantized, all dies equal.

Sources, shortened below:

- *rockpool docs*: rockpool.ai/devices/xylo-overview.html.
- *rockpool*: synsense/rockpool at 42cee1c96422, ``devices/xylo/syns61201`` and ``transform/quantize_methods.py``.
"""

from dataclasses import replace

from neurorobust.chip import (
    ChipModel,
    Cost,
    Digital,
    Fixed,
    Limits,
    NeuronModel,
    Scaled,
    SourcedText,
    SourcedValue,
    digital,
)
from neurorobust.chip.encodings import BitShift, Uniform

_DECAY_BITS = SourcedValue(15, "assumed", "as many shifts as leave one bit of a 16-bit state")
_digital = digital("rockpool docs: all digital", "published")

neuron = NeuronModel(
    membrane=SourcedText(
        "An integer that loses v/2^n in every time step.",
        "published",
        "rockpool docs: bit-shift decay on synapses and membranes",
        ("linear membrane",),
    ),
    floor=SourcedText(
        "None but the end of 16 bits.", "published", "Open Neuromorphic: states of 16 bits", ("no floor",)
    ),
    reset=SourcedText(
        "The threshold is subtracted, as often as it fits, up to 31 spikes in one step. An output neuron spikes once a "
        "step.",
        "published",
        "rockpool docs",
        ("subtractive reset",),
    ),
    refractory=SourcedText(
        "None is described.", "published", "rockpool docs: no such parameter", ("no refractory time",)
    ),
    synapse=SourcedText(
        "Two filters a hidden neuron, one an output neuron, each with its own bit-shift decay.",
        "published",
        "rockpool docs",
        ("one synaptic current", "synaptic currents by sign"),
    ),
    inhibition=SourcedText(
        "Weights have signs and are added up.", "published", "rockpool docs: 8 bits, signed", ("subtracted inhibition",)
    ),
    adaptation=SourcedText("None is described.", "published", "rockpool docs: no such parameter", ("no adaptation",)),
    signs=SourcedText(
        "Each weight has its own sign.", "published", "rockpool docs: 8 bits, signed", model="As on silicon."
    ),
    fan_out=SourcedText(
        "A hidden neuron reaches 64 others, 32 on average. Fan-in is 63, or 16 a synapse in older documents.",
        "published",
        "rockpool docs; Open Neuromorphic",
        model="Fan-in and neurons are checked; fan-out and the 16 inputs are not.",
    ),
    settings=SourcedText(
        "Time constants, threshold and bias for each neuron; one shift of the weights for each layer.",
        "published",
        "rockpool docs; the shift: rockpool xylo_mapper.py (coded)",
        model="As on silicon; the largest weight of the chip sets one scale for all layers.",
    ),
    readout=SourcedText(
        "On the chip: 8 output neurons that spike.",
        "published",
        "rockpool docs",
        model="A LeakyIntegrator on the host, or a layer of spiking neurons on the chip; 8 outputs are not checked.",
    ),
    time_base=SourcedText("Clocked, with one time step for all.", "published", "rockpool docs", model="As on silicon."),
    only_in_silicon=SourcedText(
        "Nothing: the network is digital. The analog front end of the audio version deviates.",
        "published",
        "rockpool docs",
        model="No front end.",
    ),
    only_in_model=SourcedText("Nothing.", "published", "rockpool docs: all digital", model="Nothing deviates."),
)


def at(dt: float) -> ChipModel:
    """Xylo for networks with time steps of ``dt`` seconds; its decays depend on dt."""
    tau = Fixed(BitShift(dt, int(_DECAY_BITS.value)))
    full = SourcedValue(127, "coded", "rockpool: 8 bits, signed")
    changed = {
        "weight": replace(_digital["weight"], encoding=Scaled(full, "LSB", Uniform(8, 1.0))),
        "tau_mem": replace(_digital["tau_mem"], encoding=tau),
        "tau_syn": replace(_digital["tau_syn"], encoding=tau),
    }
    return ChipModel(
        name="xylo",
        title="Xylo Audio 2, 1000 digital neurons",
        kinds={kind: changed.get(kind, _digital[kind]) for kind in ("weight", "bias", "tau_mem", "tau_syn")}
        | {kind: _digital[kind] for kind in ("v_threshold", "r")},
        limits=Limits(
            cores=1,
            neurons_per_core=1000,
            fan_in=63,
            fan_out=64,
            status="published",
            source="rockpool docs",
            others={"fan_in": ("published", "Open Neuromorphic: 63; an older page of rockpool's says 16: a conflict")},
        ),
        neuron=neuron,
        costs=(
            Cost(
                "whole chip",
                "seconds",
                "J",
                291e-6,
                291e-6,
                "published",
                "arXiv 2406.15112: dynamic power of Xylo Audio 2 with one network for keywords, 291 µW",
            ),
        ),
        architecture=Digital(
            cores=1,
            neurons=1000,
            entries=63,
            targets=64,
            inputs=16,
            status="published",
            source="rockpool docs",
            others={"entries": ("published", "Open Neuromorphic: 63; an older page of rockpool's says 16: a conflict")},
        ),
        facts={
            "largest shift of a decay": _DECAY_BITS,
            "time step, s": SourcedValue(dt, "assumed", "the network's own"),
        },
        inputs=SourcedText(
            "Events on 16 channels, counted in each time step.",
            "published",
            "rockpool docs; counted: from memory",
            ("events",),
            model="Counts of events in a step; other numbers are named in a warning.",
        ),
        notes=(
            "All digital: every die is the same, and only quantization changes a network. The analog front end of the "
            "audio version is not part of the network and not modelled.",
            "Decays are shifts, one per neuron: v − v/2^n in every time step, here of 1 ms; chipmodels.xylo.at(dt) is "
            "the model for other steps.",
            "Not modelled: thresholds and states of 16 bits, at most 15 events per input and 31 spikes per neuron in "
            "one step, 16 inputs and 8 outputs, and weights scaled by a shift for each layer.",
        ),
    )


chip = at(1e-3)
