"""ROLLS (INI Zurich): 256 analog neurons with 512 synapses each, short-term plastic or bistable.

Sources, shortened below:

- *Qiao 2015*: Front. Neurosci. 9:141, abstract.
- *Open Neuromorphic*: its page on ROLLS at 28f50836c0c1, which cites Qiao 2015.
"""

from neurorobust.chip import ChipModel, KindModel, Limits, Scaled, SourcedValue
from neurorobust.chip.encodings import SignedPair
from neurorobust.chip.variability import LogNormal

_other = SourcedValue(0.2, "assumed", "not published; from a simulator of its sister DYNAP-SE1 (teili)")
_rate = SourcedValue(
    0.094, "published", "Open Neuromorphic: 9.4 % over neurons in their response to current; one number"
)
_bias = KindModel(LogNormal.from_cv(_other.value), _other, per_core=True)

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
    notes=(
        "Weights are those of the 256 short-term plastic synapses of a neuron, four levels of either sign; the 256 "
        "bistable ones (1 bit) and all plasticity are left out.",
        "The one published spread, 9.4 % of the neurons' rates for a current, is put on the threshold, which sets that "
        "rate; everything else is assumed.",
        "Neuron biases are shared by all neurons. r shares the deviate of tau_mem, as in every DPI neuron; "
        "the gain of a network without r is constant. No drift is known.",
    ),
)
