"""A generic phase-change-memory crossbar: aihwkit's PCM-like inference model, digital neurons.

Source: IBM/aihwkit at 4545f11b5214, ``inference/noise/pcm.py``, fitted on real devices (Nandakumar et al., ICECS 2019).
"""

from neurorobust.chip import (
    Cell,
    ChipModel,
    Cost,
    KindModel,
    Limits,
    Scaled,
    SourcedText,
    SourcedValue,
    Tiles,
    digital,
    neurons_beside,
)
from neurorobust.chip.drift import Device, LogarithmCurve, PolynomialCurve, PowerCurve, PowerDrift, ReadNoise

_SOURCE = "aihwkit inference/noise/pcm.py"
G_MAX = SourcedValue(25e-6, "coded", f"{_SOURCE}: PCMLike, S")
_sigma = (0.26348, 1.965, -1.1731)  # µS, powers of G/G_max
_q = SourcedValue(0.0088, "coded", f"{_SOURCE}: of the conductance at G_max, times (G/G_max)^-0.65, at most 0.2")
_t_read = SourcedValue(250e-9, "coded", f"{_SOURCE}: duration of one read, s")
_t0 = SourcedValue(20.0, "coded", f"{_SOURCE}: first read, s after programming")

device = Device(
    G_MAX.value,
    PolynomialCurve(tuple(1e-6 * c / G_MAX.value for c in _sigma)),
    PowerDrift(LogarithmCurve(-0.0155, 0.0244, 0.049, 0.1), LogarithmCurve(-0.0125, -0.0059, 0.008, 0.045), _t0.value),
    ReadNoise(PowerCurve(_q.value, -0.65, 0.2), t_read=_t_read.value, start=_t0.value),
)

neuron = neurons_beside(
    SourcedText(
        "No neurons on the array. It multiplies; neurons are assumed to be computed digitally beside it.",
        "assumed",
        "aihwkit models arrays, not neurons",
    ),
    signs=SourcedText(
        "A weight is the difference of two devices, so each can have either sign.",
        "coded",
        "aihwkit inference/converter: SinglePairConductanceConverter",
        model="As on silicon.",
    ),
    fan_out=SourcedText(
        "A column adds up at most as many inputs as the array has rows. Digital sums over arrays are possible.",
        "assumed",
        "256 × 256 cells per core: from memory, to verify",
        model="Further cores take more than 256 inputs; their sums are digital and exact.",
    ),
    settings=SourcedText(
        "One scale per array for its conductances; thresholds and time constants are digital numbers.",
        "coded",
        "aihwkit inference/converter",
        model="One scale per core. Neurons are exact, each with values of its own.",
    ),
    readout=SourcedText(
        "Digital, beside the array.", "assumed", "as the neurons", model="As any layer, on a core or on the host."
    ),
    time_base=SourcedText(
        "Clocked: one product for each time step of a network.",
        "published",
        "Le Gallo et al. 2023, abstract: one- or four-phase products",
        model="Steps of dt, exact.",
    ),
    only_in_silicon=SourcedText(
        "Converters (8 bits in, 8 out), their noise and range, IR drop along the wires, temperature.",
        "coded",
        "aihwkit simulator/presets: inp_res, out_res, out_noise, out_bound, ir_drop",
        model="Left out: only devices deviate.",
    ),
    only_in_model=SourcedText(
        "Read noise is new in every product.",
        "coded",
        _SOURCE,
        model="One reading for a whole run, as in aihwkit.",
    ),
)


def costs(status: str, prefix: str = "") -> tuple[Cost, ...]:
    """The figures of HERMES for a product of a matrix and a vector of 8 bits, in one phase (low) or four (high).

    An operation is half of a multiplication with its addition. All 64 tiles have 2 · 64 · 256 · 256 operations.
    """
    source = f"{prefix}Le Gallo et al. 2023, abstract: "
    operations = 2 * 64 * 256 * 256
    return (
        Cost(
            "multiplication and addition",
            "multiplications",
            "J",
            2 / 9.76e12,
            2 / 2.48e12,
            status,
            f"{source}9.76 and 2.48 TOPS/W for inputs of 8 bits; without neurons and without communication",
        ),
        Cost(
            "product of all tiles",
            "products",
            "s",
            operations / 63.1e12,
            operations / 16.1e12,
            status,
            f"{source}63.1 and 16.1 TOPS for inputs of 8 bits, over the 64 tiles of 256 × 256 cells",
        ),
    )


chip = ChipModel(
    name="pcm",
    title="PCM crossbars, 64 cores of 256 × 256 device pairs, digital neurons",
    kinds=digital("neurons are computed digitally beside the array")
    | {
        "weight": KindModel(
            Cell(device),
            SourcedValue(0.0762, "coded", f"{_SOURCE}: programming noise 0.95 of 12.5 µS", at=12.5e-6),
            encoding=Scaled(G_MAX, "S"),
        ),
    },
    shares_kernels=True,
    inputs=SourcedText(
        "Numbers of 8 bits, from converters.",
        "coded",
        "aihwkit simulator/presets: inp_res",
        ("events", "numbers"),
        model="Any numbers, exact: converters are left out.",
    ),
    neuron=neuron,
    costs=costs("assumed", "as on HERMES: "),
    architecture=Tiles(
        cores=64,
        neurons=256,
        rows=256,
        status="published",
        source="Le Gallo et al. 2023, Nat. Electron., abstract: 64 cores",
        others={name: ("assumed", "256 × 256 cells per core, from memory, to verify") for name in ("neurons", "rows")},
    ),
    limits=Limits(
        cores=64,
        neurons_per_core=256,
        fan_in=256,
        status="published",
        source="Le Gallo et al. 2023, Nat. Electron., abstract: 64 cores",
        others={
            "neurons_per_core": ("assumed", "256 × 256 cells per core, from memory, to verify"),
            "fan_in": ("assumed", "256 rows per core, from memory; further cores take more inputs"),
        },
    ),
    facts={
        "programming noise at G = 0, µS": SourcedValue(_sigma[0], "coded", _SOURCE),
        "programming noise, slope, µS": SourcedValue(_sigma[1], "coded", _SOURCE),
        "programming noise, curvature, µS": SourcedValue(_sigma[2], "coded", _SOURCE),
        "read noise": _q,
        "read noise: duration of one read, s": _t_read,
        "drift: t0, s": _t0,
        "drift: exponent at G/G_max = 1": SourcedValue(
            0.049, "coded", f"{_SOURCE}: −0.0155 ln r + 0.0244, 0.049 to 0.1"
        ),
        "drift: its spread at G/G_max = 1": SourcedValue(
            0.008, "coded", f"{_SOURCE}: −0.0125 ln r − 0.0059, 0.008 to 0.045"
        ),
    },
    notes=(
        "A weight is G₊ − G₋ with one of them 0, continuous; programming noise is normal, truncated at 0, and acts on "
        "both devices. A weight of exactly 0 is no pair of devices.",
        "The largest magnitude of a core is placed at G_max.",
        "die.at(time) ages every device by its own exponent, after which one digital factor per array restores the "
        "mean magnitude (global drift compensation).",
        "Read noise (1/f, new at every reading) is part of a die's deviations; a whole run uses one reading, as in "
        "aihwkit. Converters, IR drop and their noise are left out.",
    ),
)
