"""BrainScaleS-2 (Heidelberg): 512 analog neurons with separate parameters, a thousand times faster than biology.

Sources, shortened below:

- *calix*: electronicvisions/calix at e5730819d4ab: ``spiking/neuron.py``, ``spiking/refractory_period.py`` and the
  limits of its tests on hardware, ``tests/hw/py/test_neuron_distribution.py`` and ``test_cadc_calibration.py``.
- *hxtorch*: electronicvisions/hxtorch at 3bfc7aadf33d, ``perceptron/constants.h``.
- *Pehle 2022*: Front. Neurosci. 16:795876.
"""

from neurorobust.chip import ChipModel, KindModel, Limits, Range, Scaled, SharedGain, SourcedValue, TimeBase
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
