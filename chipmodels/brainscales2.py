"""BrainScaleS-2 (Heidelberg): 512 analog neurons with separate parameters, a thousand times faster than biology.

Sources, shortened below:

- *calix*: electronicvisions/calix at e5730819d4ab: ``spiking/neuron.py``, ``spiking/refractory_period.py`` and the
  limits of its tests on hardware, ``tests/hw/py/test_neuron_distribution.py`` and ``test_cadc_calibration.py``.
- *hxtorch*: electronicvisions/hxtorch at 3bfc7aadf33d, ``perceptron/constants.h``.
- *Pehle 2022*: Front. Neurosci. 16:795876.
- *demos*: electronicvisions/brainscales2-demos: ``fp_brainscales.rst`` (after the thesis of S. Billaudelle, 2022) and
  ``cns_01_lif_parameters.rst``.
- *pynn-brainscales*: at fd4f926, ``brainscales2``.
"""

from neurorobust.chip import (
    ChipModel,
    Cost,
    KindModel,
    Limits,
    NeuronModel,
    Range,
    Rows,
    Scaled,
    SharedGain,
    SourcedText,
    SourcedValue,
    TimeBase,
)
from neurorobust.chip.encodings import SignedPair
from neurorobust.chip.variability import LogNormal, Normal, Offset

UNCALIBRATED = 0.2


def _calibrated(ratio: float, range: Range | None = None, encoding: Scaled | None = None) -> KindModel:
    cv = SourcedValue(
        UNCALIBRATED * ratio,
        "assumed",
        f"0.2 before calibration (not published) × {ratio:g}, the limit of calix's tests on hardware",
    )
    model = KindModel(LogNormal.from_cv(cv.value), cv, range=range)
    return model if encoding is None else KindModel(model.law, cv, encoding=encoding)


_unknown = SourcedValue(UNCALIBRATED, "assumed", "not published")
_residue = SourcedValue(
    3.0, "coded", "calix test_cadc_calibration.py: residue of the converter that voltages are set with, LSB"
)
_voltage = KindModel(Offset(_residue.value), _residue, encoding=SharedGain("v_threshold"))

neuron = NeuronModel(
    membrane=SourcedText(
        "A voltage with a linear leak; an exponential upswing can be switched on.",
        "published",
        "demos fp_brainscales.rst: AdEx, which can be reduced to LIF",
        ("linear membrane", "exponential membrane"),
    ),
    floor=SourcedText(
        "The lower end of the range of voltages. Rest is at 80 LSB, the threshold at 125, and a membrane can be read "
        "reliably from 30 on: 1.1 thresholds below rest. What it does further down was not found.",
        "coded",
        "calix neuron.py: default targets; reliable range of the converter: calix",
        ("floor below rest",),
    ),
    reset=SourcedText(
        "To a programmable voltage of each neuron, through a conductance: it takes some time.",
        "published",
        "demos cns_01_lif_parameters.rst",
        ("reset to rest", "reset to a value"),
    ),
    refractory=SourcedText(
        "40 ns to 32 µs of the chip (40 µs to 32 ms of the network), in which the membrane stays at the reset voltage.",
        "published",
        "demos cns_01_lif_parameters.rst; range: calix neuron.py (coded)",
        ("no refractory time", "refractory time that holds the membrane"),
    ),
    synapse=SourcedText(
        "An input for excitation and one for inhibition, each with a decay of its own. An event is a charge: its size "
        "does not depend on a time step.",
        "published",
        "demos fp_brainscales.rst",
        ("one synaptic current", "synaptic currents by sign"),
    ),
    inhibition=SourcedText(
        "Current-based inputs are subtracted; conductance-based ones can be chosen.",
        "published",
        "demos fp_brainscales.rst",
        ("subtracted inhibition", "shunting inhibition"),
    ),
    adaptation=SourcedText(
        "A current, as in AdEx; calix has no target for it.",
        "published",
        "demos fp_brainscales.rst; calix spiking calibration (coded)",
        ("no adaptation", "adaptation current"),
    ),
    signs=SourcedText(
        "The driver of a row of synapses sets the sign of the row.",
        "published",
        "demos fp_brainscales.rst",
        model="Each synapse has a sign of its own; so both signs take two rows, and fan-in is halved.",
    ),
    fan_out=SourcedText(
        "256 synapses a circuit, each listens to one of 64 addresses of its row; circuits can be joined. Events carry "
        "labels of 14 bits.",
        "published",
        "demos fp_brainscales.rst",
        model="128 signed inputs per neuron and 512 neurons are checked; addresses, labels, joined circuits are not.",
    ),
    settings=SourcedText(
        "16 currents and 8 voltages for each neuron, 10 bits each. Some are shared: the bias of the synapses, the two "
        "clocks of the refractory time.",
        "published",
        "demos fp_brainscales.rst; clocks: calix refractory_period.py (coded)",
        model="Each neuron has values of its own, without rounding.",
    ),
    readout=SourcedText(
        "Spikes of all neurons; membranes of two neurons at a time.",
        "coded",
        "pynn-brainscales",
        model="The read-out of our tasks is on the host.",
    ),
    time_base=SourcedText(
        "Continuous time, a thousand times faster than the network's.",
        "published",
        "Pehle 2022",
        model="Steps of dt; times of the network are divided by 1000. A recurrent spike arrives one step later.",
    ),
    only_in_silicon=SourcedText(
        "Drivers of rows, converters of columns, the memory of every parameter, the strength of the reset; "
        "differences between the four quadrants; noise from run to run.",
        "published",
        "demos fp_brainscales.rst: the circuits; no spread of them was found",
        model="One deviation per kind and neuron, one per synapse.",
    ),
    only_in_model=SourcedText(
        "No CV before calibration was found in any text.",
        "unknown",
        "",
        model="20 % before calibration is assumed for every kind, times what calibration leaves.",
    ),
)

chip = ChipModel(
    name="brainscales2",
    title="BrainScaleS-2, 512 analog neurons, 1000 × faster than biology",
    kinds={
        "weight": KindModel(
            Normal(_unknown.value),
            _unknown,
            encoding=Scaled(
                SourcedValue(63, "coded", "hxtorch: 6 bits, −63 to 63 in two rows"), "LSB", SignedPair(6, 1.0)
            ),
        ),
        "tau_mem": _calibrated(0.45, Range(5e-7, 6e-5, "coded", "calix neuron.py: targets of the calibration")),
        "tau_syn": _calibrated(0.2, Range(3e-7, 3e-5, "coded", "calix neuron.py: targets of the calibration")),
        "tau_adapt": KindModel(LogNormal.from_cv(_unknown.value), _unknown),
        "adaptation": KindModel(LogNormal.from_cv(_unknown.value), _unknown),
        "v_threshold": _calibrated(
            0.35, encoding=Scaled(SourcedValue(45, "coded", "calix neuron.py: threshold 125 above leak 80"), "LSB")
        ),
        "v_leak": _voltage,
        "v_reset": _voltage,
        "t_ref": KindModel(
            LogNormal.from_cv(0.03),
            SourcedValue(0.03, "coded", "calix refractory_period.py: steps of its counter kept below about 3 %"),
            range=Range(4e-8, 3.2e-5, "coded", "calix neuron.py: targets of the calibration"),
        ),
        "bias": KindModel(Normal(_unknown.value), _unknown),
    },
    limits=Limits(
        cores=1,
        neurons_per_core=512,
        fan_in=128,
        status="published",
        source="Pehle 2022: 131072 synapses for 512 neurons",
        others={"fan_in": ("published", "Pehle 2022: 256 synapses per neuron; a signed weight takes two of them")},
    ),
    time_base=TimeBase(
        SourcedValue(1000, "published", "Pehle 2022"), "the chip's seconds, a thousandth of the network's"
    ),
    grid=(2, 256),
    inputs=SourcedText(
        "Events with a label. In another mode, which this model does not describe, the array multiplies numbers.",
        "published",
        "demos fp_brainscales.rst: labels of 14 bits; the other mode: from memory",
        ("events",),
        model="Counts of events in a step; other numbers are named in a warning.",
    ),
    neuron=neuron,
    costs=(
        Cost("whole chip", "seconds", "J", None, 0.2, "published", "Cramer et al. 2022, abstract: less than 200 mW"),
    ),
    architecture=Rows(
        cores=1,
        neurons=512,
        rows=256,
        rows_per_input=2,
        status="published",
        source="Pehle 2022: 131072 synapses for 512 neurons",
        others={"rows_per_input": ("coded", "hxtorch: a signed weight takes two rows")},
    ),
    notes=(
        "Time constants of the network are divided by 1000 for the chip; its ranges are in the chip's seconds: tau_mem "
        "of 0.5 to 60 ms in the network's.",
        "No CV of this chip was found in any text; 0.2 before calibration is an assumption. The part after "
        "calibration is an upper limit of a test, not a measurement.",
        "Assumed: the spread of a weight is one deviate per synapse; drivers and converters shared by rows and columns "
        "are not modelled. The sign of a weight is chosen by its row, so both signs take two rows.",
        "A neuron's 10-bit parameter memory is fine beside the spread and not modelled; neither are merged neurons.",
        "Calibrations are repeated every night; no drift is known.",
    ),
)
