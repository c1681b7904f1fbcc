"""Filamentary ReRAM crossbars as in NeuRRAM: noise read off published figures at three times, digital neurons.

Source: IBM/aihwkit at 4545f11b5214, ``inference/noise/reram.py``, ReRamWan2022NoiseModel (Wan et al., Nature 2022).
"""

from neurorobust.chip import (
    Cell,
    ChipModel,
    KindModel,
    Limits,
    Scaled,
    SourcedText,
    SourcedValue,
    Tiles,
    digital,
    neurons_beside,
)
from neurorobust.chip.drift import ConstantReadNoise, Device, PolynomialCurve, SampledRelaxation

from . import pcm

_SOURCE = "aihwkit inference/noise/reram.py, ReRamWan2022NoiseModel"
G_MAX = SourcedValue(40e-6, "coded", f"{_SOURCE}: reference of the coefficients, S")
_sigma = {  # s after programming: µS, powers of G/G_max
    1.0: (0.348, 16.03, -43.853, 45.393, -16.815),
    86400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}
READ = SourcedValue(0.01, "coded", f"{_SOURCE}: suggested, of each conductance")
STUCK = {
    name: SourcedValue(
        fraction, "coded", f"aihwkit simulator/presets/devices.py, ReRamArray{name}PresetDevice: of an array"
    )
    for name, fraction in (("HfO2", 0.0977), ("OM", 0.1348))
}
_spreads = {time: PolynomialCurve(tuple(1e-6 * c / G_MAX.value for c in sigma)) for time, sigma in _sigma.items()}

neuron = neurons_beside(
    SourcedText(
        "No spiking neurons. What NeuRRAM calls a neuron is a converter for 16 rows and columns: it samples the sum, "
        "integrates it and compares. Spiking neurons would be computed digitally.",
        "published",
        "Wan et al. 2022, Nature, extended data figure 4; figure after it in PMC12203480",
    ),
    signs=SourcedText(
        "A weight is the difference of two devices, so each can have either sign.",
        "coded",
        f"{_SOURCE}: used with pairs of devices",
        model="As on silicon.",
    ),
    fan_out=SourcedText(
        "256 × 256 cells per core. Sums over cores are digital.",
        "published",
        "figure after Wan et al. 2022 in PMC12203480",
        model="Further cores take more than 256 inputs; their sums are digital and exact.",
    ),
    settings=SourcedText(
        "One scale per array for its conductances; thresholds and time constants are digital numbers.",
        "assumed",
        "as any crossbar",
        model="One scale per core. Neurons are exact, each with values of its own.",
    ),
    readout=SourcedText(
        "Digital, after the converters.", "assumed", "as the neurons", model="As any layer, on a core or on the host."
    ),
    time_base=SourcedText(
        "Clocked: the phases of a converter.",
        "published",
        "Wan et al. 2022, Nature, extended data figure 4",
        model="Steps of dt, exact.",
    ),
    only_in_silicon=SourcedText(
        "Offsets, bits and range of the converters, IR drop, stuck devices, temperature.",
        "published",
        "Wan et al. 2022: converters; stuck devices: aihwkit simulator/presets/devices.py",
        model="Left out. Stuck devices only with with_defects(StuckDevices(…)).",
    ),
    only_in_model=SourcedText(
        "Whether a device keeps its rank while it relaxes is not published.",
        "unknown",
        "",
        model="It keeps its rank. The spread is known at three times only.",
    ),
)

chip = ChipModel(
    name="reram",
    title="ReRAM crossbars, 48 cores of 256 × 256, digital neurons",
    kinds=digital("neurons are computed digitally beside the array")
    | {
        "weight": KindModel(
            Cell(
                Device(
                    G_MAX.value,
                    _spreads[1.0],
                    SampledRelaxation(tuple(_spreads.items())),
                    ConstantReadNoise(READ.value),
                ),
                one_normal=True,
                compensated=False,
            ),
            SourcedValue(0.226, "coded", f"{_SOURCE}: 2.26 of 10 µS, one second after programming", at=10e-6),
            encoding=Scaled(G_MAX, "S"),
        ),
    },
    shares_kernels=True,
    inputs=SourcedText(
        "Numbers, by converters.",
        "published",
        "Wan et al. 2022, Nature, extended data figure 4",
        ("events", "numbers"),
        model="Any numbers, exact: converters are left out.",
    ),
    neuron=neuron,
    costs=pcm.costs("assumed", "as on HERMES: "),
    architecture=Tiles(
        cores=48,
        neurons=256,
        rows=256,
        status="published",
        source="figure after Wan et al. 2022: 256 × 256 cells per core",
        others={"cores": ("assumed", "from memory, to verify")},
    ),
    limits=Limits(
        cores=48,
        neurons_per_core=256,
        fan_in=256,
        status="published",
        source="figure after Wan et al. 2022: 256 × 256 cells per core",
        others={"cores": ("assumed", "from memory, to verify")},
    ),
    facts={
        f"noise {time:g} s after programming, coefficient {i}, µS": SourcedValue(c, "coded", _SOURCE)
        for time, sigma in _sigma.items()
        for i, c in enumerate(sigma)
    }
    | {
        "read noise": READ,
        "stuck devices, HfO2": STUCK["HfO2"],
        "stuck devices, OM": STUCK["OM"],
    },
    notes=(
        "A weight is G₊ − G₋ with one of them 0, continuous; noise is normal, truncated at 0, and acts on both devices."
        " A weight of exactly 0 is no pair of devices. The largest magnitude of a core is placed at G_max.",
        "The spread is known one second, one day and two days after programming, and at no other time. Assumed: a "
        "device keeps its rank. By default a die is one second old.",
        "Stuck devices (9.8 % HfO₂, 13.5 % OM in another array) are left out, as in the library; "
        "chip.with_defects(StuckDevices(0.0977)) puts them in. Their stuck values are not published.",
        "Read noise, suggested as 1 %, is new at every reading and not part of a die; a whole run uses one reading.",
    ),
)
