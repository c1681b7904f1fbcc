"""CMO/HfOx analog ReRAM: closed-loop programming within 2 %, logarithmic relaxation, digital neurons.

Source: IBM/aihwkit at 4545f11b5214, ``inference/noise/reram.py``, ReRamCMONoiseModel (Falcone et al.).
"""

from dataclasses import replace

from neurorobust.chip import (
    Cell,
    ChipModel,
    KindModel,
    Scaled,
    SourcedText,
    SourcedValue,
    Tiles,
    digital,
    neurons_beside,
)
from neurorobust.chip.drift import ConstantReadNoise, Device, LogRelaxation, PolynomialCurve

from . import pcm, reram

_SOURCE = "aihwkit inference/noise/reram.py, ReRamCMONoiseModel"
G_MAX = SourcedValue(88.2e-6, "coded", f"{_SOURCE}, S")
G_MIN = SourcedValue(9e-6, "coded", f"{_SOURCE}, S")
_sigma = (0.0112185391, 0.01129027418)  # µS and µS/µS, programming accepted within 2 %
READ = SourcedValue(0.01, "assumed", "as suggested for NeuRRAM, of each conductance")
_relaxation = (-0.089, 0.0420, 0.4118)  # µS: mean for each ln t, spread for each ln t, spread at 1 s

neuron = neurons_beside(
    SourcedText(
        "No neurons. The source describes devices, not a chip; neurons are assumed to be computed digitally.",
        "assumed",
        f"{_SOURCE} models devices only",
    ),
    signs=SourcedText(
        "A single device, or the difference of two.",
        "coded",
        "aihwkit inference/converter/conductance.py",
        model="The difference of two devices, the idle one at 9 µS.",
    ),
    fan_out=SourcedText("unknown", "unknown", "", model="256 × 256 cells per core, as NeuRRAM."),
    settings=reram.neuron.settings,
    readout=SourcedText("unknown", "unknown", "", model="As any layer, on a core or on the host."),
    time_base=SourcedText("unknown", "unknown", "", model="Steps of dt, exact."),
    only_in_silicon=SourcedText(
        "Converters, IR drop and stuck devices of a chip that is not described.",
        "unknown",
        "",
        model="Left out: only devices deviate.",
    ),
    only_in_model=SourcedText(
        "Read noise of this technology is not published.",
        "unknown",
        "",
        model="1 %, as suggested for NeuRRAM; a device keeps its rank while it relaxes.",
    ),
)

chip = ChipModel(
    name="reram_cmo",
    title="CMO/HfOx ReRAM crossbars, digital neurons",
    kinds=digital("neurons are computed digitally beside the array")
    | {
        "weight": KindModel(
            Cell(
                Device(
                    G_MAX.value,
                    PolynomialCurve((1e-6 * _sigma[0] / G_MAX.value, _sigma[1])),
                    LogRelaxation(*(1e-6 * number / G_MAX.value for number in _relaxation)),
                    ConstantReadNoise(READ.value),
                    low=G_MIN.value,
                    high=G_MAX.value,
                )
            ),
            SourcedValue(
                0.0139, "coded", f"{_SOURCE}: programming noise of 48.6 µS, over the 39.6 above G_min", at=39.6e-6
            ),
            encoding=Scaled(SourcedValue(G_MAX.value - G_MIN.value, "coded", f"{_SOURCE}: G_max − G_min, S"), "S"),
        ),
    },
    shares_kernels=True,
    inputs=SourcedText("unknown", "unknown", "", model="Any numbers, exact."),
    neuron=neuron,
    costs=pcm.costs("assumed", "as on HERMES: "),
    architecture=Tiles(
        cores=48,
        neurons=256,
        rows=256,
        status="assumed",
        source="as NeuRRAM; no chip of this technology is described",
    ),
    limits=replace(reram.chip.limits, status="assumed", source="as NeuRRAM; no chip of this technology is described"),
    facts={
        "G_min, S": G_MIN,
        "read noise": READ,
        "programming noise at G = 0, µS": SourcedValue(_sigma[0], "coded", f"{_SOURCE}: accepted within 2 %"),
        "programming noise, slope": SourcedValue(_sigma[1], "coded", f"{_SOURCE}: accepted within 2 %"),
        "relaxation: mean for each ln t, µS": SourcedValue(_relaxation[0], "coded", _SOURCE),
        "relaxation: spread for each ln t, µS": SourcedValue(_relaxation[1], "coded", _SOURCE),
        "relaxation: spread at 1 s, µS": SourcedValue(_relaxation[2], "coded", _SOURCE),
    },
    notes=(
        "A weight is G₊ − G₋ between 9 and 88.2 µS, continuous, the idle device at 9 µS; programming noise is normal "
        "and acts on both. A weight of exactly 0 is no pair of devices.",
        "The library's default for the accepted error silently becomes 0.2 %; here it is the intended 2 %.",
        "die.at(time) relaxes every device: known from one second on. Assumed: a device keeps its rank. One "
        "digital factor per array restores the mean magnitude.",
        "Read noise of 1 % is new at every reading and not part of a die; a whole run uses one reading.",
    ),
)
