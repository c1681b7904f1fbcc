"""DYNAP-SE1 (INI Zurich): four cores of 256 analog neurons; a weight is a number of equal synapses.

Sources, shortened below:

- *rockpool*: synsense/rockpool, ``docs/devices/DynapSE/dynapse1.ipynb`` at 114e3c9c7a37 and ``biasgen.py`` at
  020f51761a68.
- *Moradi 2018*: IEEE TBioCAS 12(1), from memory, to verify.
- *teili*: the INI's Brian 2 toolbox, mismatch dictionaries.

The measured arrays behind ``dynapse2`` may come from this chip: their file names fit its bias names.
"""

from neurorobust.chip import ChipModel, KindModel, Limits, Range, Scaled, SourcedValue, SynapseCounts
from neurorobust.chip.variability import LogNormal

_MEMORY = "Moradi 2018, from memory, to verify"
_cv = SourcedValue(0.2, "coded", "teili: 20 % on capacitances and every bias current; DynapSEtorch codes 10 %")
_bias = KindModel(LogNormal.from_cv(_cv.value), _cv, per_core=True)

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
            "neurons_per_core": ("assumed", f"{_MEMORY}; rockpool prints 64 but uses neuron 152 of a core"),
            "fan_out": ("assumed", _MEMORY),
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
