"""Xylo Audio 2 (SynSense): a digital spiking processor: quantized, all dies equal.

Sources, shortened below:

- *rockpool docs*: rockpool.ai/devices/xylo-overview.html.
- *rockpool*: synsense/rockpool at 42cee1c96422, ``devices/xylo/syns61201`` and ``transform/quantize_methods.py``.
"""

from dataclasses import replace

from neurorobust.chip import ChipModel, Fixed, Limits, Scaled, SourcedValue, digital
from neurorobust.chip.encodings import BitShift, Uniform

_DECAY_BITS = SourcedValue(15, "assumed", "as many shifts as leave one bit of a 16-bit state")
_digital = digital("rockpool docs: all digital", "published")


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
        facts={
            "largest shift of a decay": _DECAY_BITS,
            "time step, s": SourcedValue(dt, "assumed", "the network's own"),
        },
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
