"""Sizes of the images of DYNAP-SE2 and DYNAP-SE1.

The numbers of memories are those of rockpool's ``samna_alias`` and ``lookup/defaults.py`` (coded); those of DYNAP-SE1
are in its chip model, with their sources. The hops to the host and the host's own tag are those of rockpool for
DYNAP-SE2 (coded); that DYNAP-SE1 has the same is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...chip import BitMaskedCurrents, Cam, ChipModel, Encoding, Range, SynapseCounts
from ...circuit import DendriteType


class Bias(NamedTuple):
    """A bias current, by its name in the simulators.

    Attributes:
        device: its name on DYNAP-SE2. sets: the parameters of the network that it follows from.
    """

    device: str
    sets: str


def _dendrites() -> dict[str, Bias]:
    """Time constant and gain of the four filters."""
    devices = {"AMPA": ("DEAM", "E"), "GABA": ("DEGA", "I"), "NMDA": ("DENM", "E"), "SHUNT": ("DESC", "I")}
    found = {}
    for kind in DendriteType:
        (start, letter), name = devices[kind.name], kind.name.lower()
        found[f"Itau_{name}"] = Bias(f"{start}_{letter}TAU_P", "tau_syn")
        found[f"Igain_{name}"] = Bias(f"{start}_{letter}GAIN_P", "tau_syn, tau_mem, r, v_threshold and the weights")
    return found


BIASES: Mapping[str, Bias] = {
    "Itau_mem": Bias("SOIF_LEAK_N", "tau_mem"),
    "Igain_mem": Bias("SOIF_GAIN_N", "v_threshold and ratio"),
    "Ispkthr": Bias("SOIF_SPKTHR_P", "v_threshold"),
    "Iref": Bias("SOIF_REFR_N", "t_ref"),
    "Idc": Bias("SOIF_DC_P", "bias"),
    "Itau_ahp": Bias("SOAD_TAU_P", "tau_adapt"),
    "Igain_ahp": Bias("SOAD_GAIN_P", "tau_adapt"),
    "Iw_ahp": Bias("SOAD_W_N", "adaptation, tau_mem, r and v_threshold"),
    "Ipulse_ahp": Bias("SOAD_PWTAU_N", "nothing: a constant"),
    **_dendrites(),
    "Ipulse": Bias("SYPD_EXT_N", "nothing: a constant"),
    **{f"Iw_{k}": Bias(f"SYAM_W{k}_P", "the weights") for k in range(4)},
    **{f"Iw_{kind.name.lower()}": Bias("", "the weights") for kind in DendriteType},
}
"""Every bias of an image. ``Iw_ampa`` … are those of DYNAP-SE1, which has no masks; their names on that device are
PS_WEIGHT_EXC_F_N (AMPA), PS_WEIGHT_EXC_S_N (NMDA), PS_WEIGHT_INH_F_N and PS_WEIGHT_INH_S_N."""

ALWAYS = ("Itau_mem", "Igain_mem", "Ispkthr", "Iref", "Ipulse")
AHP = ("Itau_ahp", "Igain_ahp", "Iw_ahp", "Ipulse_ahp")


@dataclass(frozen=True)
class Layout:
    """Sizes of the image of one chip.

    Attributes:
        device: its name. cores, neurons: of the chip, per core. entries, destinations: of a neuron. tags: addresses.
        encoding: of the weights in the chip model. base_currents: that a mask chooses from; 0 where a weight is a
            number of entries. own_tags: whether a neuron sends its own address, (core, number), and no other tag.
        switches: whether each neuron has the latches; else those of a core are equal.
        host_tag: belongs to the host itself, so no neuron that is monitored can have it.
        ranges: currents that the bias generator reaches, by name of the bias; the others are not checked.
    """

    device: str
    cores: int
    neurons: int
    entries: int
    destinations: int
    tags: int
    encoding: type[Encoding]
    base_currents: int
    own_tags: bool
    switches: bool
    host_tag: int | None
    ranges: Mapping[str, Range]

    def fits(self, chip: ChipModel) -> bool:
        """Whether a chip model describes this chip."""
        model, architecture = chip.kinds.get("weight"), chip.architecture
        return (
            isinstance(architecture, Cam)
            and self.limits() == tuple(architecture.limits().values())
            and model is not None
            and isinstance(model.encoding, self.encoding)
            and getattr(model.encoding, "bits", self.base_currents) == self.base_currents
        )

    def limits(self) -> tuple[int, ...]:
        return self.cores, self.neurons, self.entries, self.destinations, self.tags

    def weight_biases(self, dendrite: DendriteType) -> tuple[str, ...]:
        """The base currents of an entry that feeds a dendrite, by bit of its mask."""
        if self.base_currents:
            return tuple(f"Iw_{k}" for k in range(self.base_currents))
        return (f"Iw_{dendrite.name.lower()}",)


_TABLES = "smallest and largest current in rockpool's tables for the type of transistor, times a factor of the bias"


def _reach(low: float, high: float, *names: str) -> dict[str, Range]:
    return dict.fromkeys(names, Range(low, high, "coded", _TABLES))


_SE2_RANGES = {
    **_reach(3.0e-13, 1.39e-6, "Itau_mem"),
    **_reach(5.1e-13, 2.39e-6, "Igain_mem", "Iref"),
    **_reach(1.4e-13, 8.5e-7, "Idc", "Ispkthr"),
    **_reach(7.4e-14, 4.5e-7, "Itau_ahp", *(f"Itau_{kind.name.lower()}" for kind in DendriteType)),
    **_reach(2.5e-13, 1.53e-6, "Igain_ahp", *(f"Igain_{kind.name.lower()}" for kind in DendriteType)),
    **_reach(8.2e-14, 4.94e-7, *(f"Iw_{k}" for k in range(4))),
    **_reach(4.5e-13, 2.1e-6, "Iw_ahp", "Ipulse", "Ipulse_ahp"),
}
_SE1_RANGE = Range(
    5.9e-14,
    2.4e-5,
    "coded",
    "rockpool's biasgen.py of DYNAP-SE1: 1/255 of the smallest full scale, and the largest; factors of single biases "
    "are not known",
)

SE2 = Layout(
    device="DYNAP-SE2",
    cores=4,
    neurons=256,
    entries=64,
    destinations=4,
    tags=2048,
    encoding=BitMaskedCurrents,
    base_currents=4,
    own_tags=False,
    switches=True,
    host_tag=2047,
    ranges=_SE2_RANGES,
)
SE1 = Layout(
    device="DYNAP-SE1",
    cores=4,
    neurons=256,
    entries=64,
    destinations=4,
    tags=1024,
    encoding=SynapseCounts,
    base_currents=0,
    own_tags=True,
    switches=False,
    host_tag=None,
    ranges=dict.fromkeys([name for name in BIASES if name not in SE2.weight_biases(DendriteType.AMPA)], _SE1_RANGE),
)
"""An entry of DYNAP-SE1 listens to a core and a neuron on it (samna's documentation of ``Dynapse1Synapse``): the tag of
a neuron is 256 · core + number. Input channels may have any other."""
LAYOUTS = {layout.device: layout for layout in (SE2, SE1)}


def layout_of(chip: ChipModel) -> Layout:
    """The layout of the images for a chip model.

    Raises:
        ValueError: it has none.
    """
    for layout in LAYOUTS.values():
        if layout.fits(chip):
            return layout
    raise ValueError(
        f"chip: {chip.name} has no image format; there is one for DYNAP-SE2 with masks of 4 bits (dynapse2) and for "
        f"DYNAP-SE1 (dynapse1); deploy the network onto one of them."
    )
