"""Filamentary ReRAM crossbars as in NeuRRAM: noise read off published figures at three times, digital neurons.

Source: IBM/aihwkit at 4545f11b5214, ``inference/noise/reram.py``, ReRamWan2022NoiseModel (Wan et al., Nature 2022).
"""

from neurorobust.chip import Cell, ChipModel, KindModel, Limits, Scaled, SourcedValue, digital
from neurorobust.chip.drift import ConstantReadNoise, Device, PolynomialCurve, SampledRelaxation

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
