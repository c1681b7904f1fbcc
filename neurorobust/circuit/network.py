"""From a programmed network of LinearizedDpi to the bias currents that a chip would be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .._util.errors import check_number
from ..chip import Programmed
from ..core.noise import INPUT
from ..core.params import Params
from ..core.placement import HOST
from ..dynamics import Ahp
from ..nn.connections import Linear
from ..nn.network import Network
from ..nn.neurons import LinearizedDpi, Neuron
from ..nn.sparse_linear import SparseLinear
from .description import AHP_OFF, Circuit, Dendrite, DendriteType, Neurons, Synapses
from .technology import Technology, checked_technology

LARGEST_THRESHOLD = 100e-9  # A: rockpool's default of Ispkthr
LARGEST_WEIGHT = 8e-9  # A: rockpool's default of the largest base weight
SHORTEST_REFRACTORY = 4.4e-7  # s: from the largest current of rockpool's tables
PULSE, PULSE_AHP = 35e-9, AHP_OFF["i_pulse_ahp"]  # A: rockpool's defaults, 10 µs and 1 µs
FIXED_AT_REST = ("v_leak", "v_floor", "v_reset")


class _Layer(NamedTuple):
    """A layer on the chip, with the values of its parameters.

    Attributes:
        threshold_gain, weight_gain: A per network unit, (n,).
    """

    name: str
    module: LinearizedDpi
    params: Mapping[str, Tensor]
    threshold_gain: np.ndarray
    weight_gain: np.ndarray

    def value(self, kind: str, default: float | None = None) -> np.ndarray:
        """A parameter for every neuron, (n,)."""
        found = self.params.get(f"{self.name}.{kind}")
        if found is None:
            assert default is not None
            return np.full(self.module.n, default)
        return np.broadcast_to(_numpy(found), (self.module.n,)).astype(np.float64)


def circuit_of(
    network: Network,
    programmed: Programmed,
    *,
    params: Params | None = None,
    ratio: float = 100.0,
    delay: float = 0.0,
    technology: Technology | None = None,
) -> Circuit:
    """The circuit of a programmed network: threshold-type neurons whose bias currents are those that the network's
    equations ask for.

    With ρ = I_thr/I_gain, and I_τ from tau_mem, one network unit of synaptic current is I_τ ρ r/v_threshold. So
    I_mem = I_thr v/v_threshold follows the equation of :class:`~neurorobust.nn.LinearizedDpi` in the limit of a large
    ρ, with two differences at any ρ: inhibition cancels excitation only, as with
    :class:`~neurorobust.dynamics.CancelsExcitation`, so it cannot discharge the membrane; and adaptation makes the leak
    larger, too.

    ============== ===================================================================================================
    I_thr          v_threshold times the chip's gain, A
    I_gain         I_thr/ρ
    I_w            size of the weight times the chip's gain, A: AMPA if it is > 0, GABA if it is < 0
    gain of AMPA   such that an event through w makes I_AMPA jump by w I_τ ρ r/v_threshold; so for GABA
    I_dc           bias · I_τ ρ r/v_threshold
    I_ahp          jumps by adaptation · I_τ r/v_threshold · ρ/(1 + ρ): in the circuit I_ahp acts on the input and on
                   the leak, and this step makes the current at which the neuron fires larger by as much as in the
                   network
    ============== ===================================================================================================

    Where the chip's gain is not in A per unit (DYNAP-SE1 counts synapses; ``ideal``), the largest threshold of
    each layer is 100 nA, and the largest weight of all layers 8 nA. The spikes do not depend on that of the weight, and
    on that of the threshold only through I_0. Without t_ref the refractory time is the shortest of DYNAP-SE2, 0.44 µs.

    Channels are the features of the network's input. Neurons are numbered layer by layer. Layers on the host are left
    out. Every neuron has the site of the network's placement.

    Args:
        network: each layer on the chip is a LinearizedDpi with Linear connections. programmed: the network as
            ``chip.program(…)`` returned it.
        params: values to take instead, such as those of a die, one per neuron or synapse; by default
            ``programmed.expanded()``.
        ratio: ρ, > 0. The larger it is, the nearer is the circuit to the network's equations; the default is an
            assumption, no measured operating point is known.
        delay: from a spike of a neuron to its arrival, s. technology: constants; ``Technology()`` by default.

    Raises:
        TypeError: a neuron or a connection that the circuit does not have. ValueError: a value that it cannot have.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> circuit = nr.circuit.circuit_of(network, held)
        >>> circuit.neurons.n, circuit.n_channels, float(circuit.neurons.i_thr.max())  # A
        (128, 32, 1e-07)
    """
    ratio, delay = check_number("ratio", ratio, strict=True), check_number("delay", delay)
    technology = checked_technology(technology)
    values = programmed.expanded() if params is None else params
    layers = list(_layers(network, programmed, values))
    if not layers:
        raise ValueError("network: no layer is on the chip, so there is no circuit; give a layer a core.")
    first = np.cumsum([0, *(layer.module.n for layer in layers)])
    starts = {layer.name: network.n_in + int(start) for layer, start in zip(layers, first)} | {INPUT: 0}
    biased = [_neurons(layer, programmed, ratio, technology) for layer in layers]
    filters = {
        kind: _joined([_dendrite(layer, part, ratio, technology) for layer in layers])
        for kind, part in ((DendriteType.AMPA, "exc"), (DendriteType.GABA, "inh"))
    }
    synapses = _joined(
        [
            _synapses(layer, int(start), _sources(layer.name, network, starts), programmed)
            for layer, start in zip(layers, first)
        ]
    )
    return Circuit(
        neurons=Neurons(n=int(first[-1]), **_joined(biased)),
        dendrites={kind: Dendrite(i_pulse=PULSE, **currents) for kind, currents in filters.items()},
        synapses=Synapses(delay=np.where(synapses["source"] < network.n_in, 0.0, delay), **synapses),
        n_channels=network.n_in,
        technology=technology,
    )


def _numpy(value: Tensor) -> np.ndarray:
    return np.asarray(value.detach().cpu().double().numpy())


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _layers(network: Network, programmed: Programmed, values: Params) -> Iterator[_Layer]:
    """The layers on the chip, checked."""
    units = {column for row in programmed.report for column in row}
    on_chip = {
        name: layer
        for name, layer in network.layers().items()
        if not bool((programmed.placement.cores[name] == HOST).all())
    }
    for name, layer in on_chip.items():
        _check(name, layer)
    weights = {name: [f"{name}.{part}.weight" for part in layer.connections()] for name, layer in on_chip.items()}
    heaviest = max((_largest(programmed, names) for names in weights.values()), default=0.0)
    for name, layer in on_chip.items():
        assert isinstance(layer, LinearizedDpi)
        threshold = f"{name}.v_threshold"
        gains = []
        for known, first, largest, most in (
            ("threshold_gain_A_per_unit" in units, threshold, LARGEST_THRESHOLD, _largest(programmed, [threshold])),
            ("gain_A_per_unit" in units, weights[name][0], LARGEST_WEIGHT, heaviest),
        ):
            gain = _numpy(programmed.gains[first]) if known else np.array(largest / (most or 1.0))
            gains.append(np.broadcast_to(gain, (layer.n,)))
        yield _Layer(name, layer, values, *gains)


def _largest(programmed: Programmed, names: Sequence[str]) -> float:
    """The largest magnitude of some parameters."""
    return max(float(programmed.params[name].abs().max()) for name in names)


def _check(name: str, layer: Neuron) -> None:
    """Raise for a layer that is not this circuit."""
    if type(layer) is not LinearizedDpi:
        raise TypeError(
            f"layer {name!r}: is {type(layer).__name__}; expected LinearizedDpi, a linearisation of the circuit."
        )
    for part, connection in layer.connections().items():
        if type(connection) is not Linear:
            hint = " nr.nn.dense(network) makes it." if isinstance(connection, SparseLinear) else ""
            raise TypeError(
                f"{name}.{part}: is {type(connection).__name__}; expected Linear, one weight per synapse.{hint}"
            )
    for kind in FIXED_AT_REST:
        value = layer.optional(kind)
        if value is not None and bool((value != 0).any()):
            raise ValueError(
                f"{name}.{kind}: got {value.max().item():g}; expected 0 or none: I_0 is the floor and the reset."
            )
    if hasattr(layer, "tau_adapt") and not isinstance(layer.rule, Ahp):
        raise TypeError(f"{name}.rule: is {layer.rule!r}; expected Ahp(), a current, which the circuit has.")


def _unit(layer: _Layer, ratio: float, technology: Technology) -> np.ndarray:
    """A for one network unit of synaptic current, (n,)."""
    i_tau = technology.current(technology.c_mem, layer.value("tau_mem"))
    return i_tau * ratio * layer.value("r", 1.0) / layer.value("v_threshold")


def _neurons(layer: _Layer, programmed: Programmed, ratio: float, technology: Technology) -> dict[str, np.ndarray]:
    n, t = layer.module.n, technology
    i_thr = layer.value("v_threshold") * layer.threshold_gain
    unit = _unit(layer, ratio, t)
    offsets = [layer.value(f"{part}.bias", 0.0) for part in layer.module.connections()]
    bias = np.sum(offsets, axis=0)
    if (bias < 0).any():
        raise ValueError(
            f"layer {layer.name!r}: the bias of neuron {int(np.argmin(bias))} is {bias.min():g}; expected ≥ 0: no "
            f"direct current is negative."
        )
    i_tau_ahp, i_w_ahp = np.full(n, AHP_OFF["i_tau_ahp"]), np.zeros(n)
    if hasattr(layer.module, "tau_adapt"):
        tau = layer.value("tau_adapt")
        i_tau_ahp = t.current(t.c_ahp, tau)
        pulse = -np.expm1(-t.charge_time(t.c_pulse, np.array(PULSE_AHP)) / tau)
        i_w_ahp = layer.value("adaptation") * unit / (1 + ratio) / pulse
    sites = programmed.placement.numbering[layer.name]
    return {
        "i_tau_mem": t.current(t.c_mem, layer.value("tau_mem")),
        "i_gain_mem": i_thr / ratio,
        "i_thr": i_thr,
        "i_ref": t.charge_time(t.c_ref, np.maximum(layer.value("t_ref", 0.0), SHORTEST_REFRACTORY)),
        "i_dc": bias * unit,
        "i_tau_ahp": i_tau_ahp,
        "i_gain_ahp": i_tau_ahp,
        "i_w_ahp": i_w_ahp,
        "i_pulse_ahp": np.full(n, PULSE_AHP),
        "core": sites.core.numpy(),
        "number": sites.number.numpy(),
    }


def _dendrite(layer: _Layer, part: str, ratio: float, technology: Technology) -> dict[str, np.ndarray]:
    """I_τ and I_gain of one filter, (n,) each."""
    t = technology
    tau = layer.value(f"{part}.tau_syn")
    i_tau = t.current(t.c_syn, tau)
    pulse = -np.expm1(-t.charge_time(t.c_pulse, np.array(PULSE)) / tau)
    return {"i_tau": i_tau, "i_gain": i_tau * _unit(layer, ratio, t) / layer.weight_gain / pulse}


def _sources(name: str, network: Network, starts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The source of every column of a layer's weights, by connection."""
    columns = []
    for source in network.inputs[name]:
        if source not in starts:
            raise ValueError(f"layer {name!r}: its input {source!r} is on the host; expected one on the chip.")
        n = network.n_in if source == INPUT else network.layers()[source].n
        columns.append(starts[source] + np.arange(n))
    own = starts[name] + np.arange(network.layers()[name].n)
    return {"input": np.concatenate(columns), "recurrent": own}


def _synapses(
    layer: _Layer, start: int, sources: Mapping[str, np.ndarray], programmed: Programmed
) -> dict[str, np.ndarray]:
    """The synapses of a layer, of the size of their currents; those with weight 0 are none."""
    parts = []
    for part in layer.module.connections():
        name = f"{layer.name}.{part}.weight"
        weight, slots = _numpy(layer.params[name]), programmed.placement.slots(name, layer.params[name])
        row, column = np.nonzero((weight != 0) & (slots.numpy() >= 0))
        size = weight[row, column]
        parts.append(
            {
                "source": sources[part][column],
                "target": start + row,
                "dendrite": np.where(size > 0, DendriteType.AMPA, DendriteType.GABA),
                "weight": np.abs(size) * layer.weight_gain[row],
                "slot": slots.numpy()[row, column],
            }
        )
    return _joined(parts)
