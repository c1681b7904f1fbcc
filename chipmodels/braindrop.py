"""Braindrop (Stanford): 4096 subthreshold neurons with digital weights, 28 nm.

Sources, shortened below:

- *pystorm*: Stanford-BIS/pystorm at 4acaaee78a04: ``hal/neuromorph/core_pars.py``, ``bddriver/common``.
- *BD arrays*: statistics of ``calibration/data/cal_db_activation.csv`` and ``cal_db_synapse.csv`` in pystorm at
  ad34553a6236: which of 4096 neurons of two chips fire without input at bias −3.
- *Neckar 2019*: Proc. IEEE 107(1), abstract.
"""

from neurorobust.chip import ChipModel, KindModel, Limits, Scaled, SourcedValue
from neurorobust.chip.encodings import LevelTable, SignedPair
from neurorobust.chip.spatial import GaussianField
from neurorobust.chip.variability import Exact, LogNormal, Offset

_unknown = SourcedValue(0.2, "assumed", "not published; exponential in a threshold voltage, hence lognormal")
_offset = SourcedValue(1.0, "assumed", "in steps of the bias; the arrays fix its pattern over the chip, not its size")
_analog = KindModel(LogNormal.from_cv(_unknown.value), _unknown)
_field = GaussianField(0.47, "offset", length=3.7)

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
