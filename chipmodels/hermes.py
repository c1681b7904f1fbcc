"""IBM's HERMES project chip: 64 cores of phase-change memory, 14 nm, two devices per polarity.

Sources: IBM/aihwkit at 4545f11b5214, ``inference/noise/hermes.py`` (Le Gallo et al. 2023 and others), through the facts
in it; Le Gallo et al. 2023, Nat. Electron., abstract.
"""

from dataclasses import replace

from neurorobust.chip import Cell, ChipModel, KindModel, Scaled, SourcedText, SourcedValue, digital, neurons_beside
from neurorobust.chip.drift import Device, LogarithmCurve, PolynomialCurve, PowerDrift

from . import pcm

_SOURCE = "aihwkit inference/noise/hermes.py"
G_MAX = SourcedValue(20.7e-6, "coded", f"{_SOURCE}: two devices per polarity, S")
_sigma = (0.16603222, 4.71806468, -8.48101252, 4.68961419)  # µS, powers of G/G_max
_t0 = SourcedValue(300.0, "coded", f"{_SOURCE}: two devices per polarity, s")
# The parabola through ν = 0.072, 0.056 and 0.017 at G/G_max = 0.1, 0.5 and 1.
_nu = PolynomialCurve((0.0738889, -0.0146667, -0.0422222))

neuron = neurons_beside(
    SourcedText(
        "No spiking neurons. The chip has digital activation functions and the digital parts of LSTM units; spiking "
        "neurons would be computed off the chip.",
        "published",
        "Le Gallo et al. 2023, Nat. Electron., abstract",
    ),
    signs=replace(pcm.neuron.signs, source=f"{_SOURCE}: one or two devices per polarity"),
    fan_out=pcm.neuron.fan_out,
    settings=pcm.neuron.settings,
    readout=SourcedText(
        "Digital, on the chip.",
        "published",
        "Le Gallo et al. 2023, Nat. Electron., abstract",
        model="As any layer, on a core or on the host.",
    ),
    time_base=pcm.neuron.time_base,
    only_in_silicon=replace(
        pcm.neuron.only_in_silicon,
        text="Read noise, converters (8 bits in, 8 out), IR drop, temperature.",
        status="published",
        source="Le Gallo et al. 2023, abstract: 8-bit products; read noise: aihwkit inference/noise/hermes.py",
    ),
    only_in_model=SourcedText(
        "Nothing is known.", "unknown", "", model="The spread of the drift is that of aihwkit's PCM-like model."
    ),
)

chip = ChipModel(
    name="hermes",
    title="HERMES, 64 cores of 256 × 256 PCM unit cells, digital neurons",
    kinds=digital("neurons are computed digitally beside the array")
    | {
        "weight": KindModel(
            Cell(
                Device(
                    G_MAX.value,
                    PolynomialCurve(tuple(1e-6 * c / G_MAX.value for c in _sigma)),
                    PowerDrift(_nu, LogarithmCurve(-0.0125, -0.0059, 0.008, 0.045), _t0.value),
                )
            ),
            SourcedValue(0.096, "coded", f"{_SOURCE}: at half of G_max", at=10.35e-6),
            encoding=Scaled(G_MAX, "S"),
        ),
    },
    shares_kernels=True,
    inputs=SourcedText(
        "Numbers of 8 bits.",
        "published",
        "Le Gallo et al. 2023, abstract: 8-bit products",
        ("events", "numbers"),
        model="Any numbers, exact: converters are left out.",
    ),
    neuron=neuron,
    costs=pcm.costs("published"),
    architecture=pcm.chip.architecture,
    limits=pcm.chip.limits,
    facts={f"programming noise, coefficient {i}, µS": SourcedValue(c, "coded", _SOURCE) for i, c in enumerate(_sigma)}
    | {
        "drift: t0, s": _t0,
        "drift: exponent at G/G_max = 0.1": SourcedValue(
            0.072, "coded", f"{_SOURCE}; a parabola between the three: assumed"
        ),
        "drift: exponent at G/G_max = 0.5": SourcedValue(0.056, "coded", _SOURCE),
        "drift: exponent at G/G_max = 1": SourcedValue(0.017, "coded", _SOURCE),
        "drift: its spread at G/G_max = 1": SourcedValue(0.008, "assumed", "as in aihwkit's PCM-like model"),
    },
    notes=(*pcm.chip.notes[:-1], "Its read noise, converters and IR drop are left out."),
)
