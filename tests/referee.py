"""Random networks with parts of every kind, and what they compute by plain NumPy, from the equations of the docstrings
alone: no function of the package runs in :func:`outcome`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurorobust import dynamics, nn
from neurorobust.core.noise import Noise
from neurorobust.nn import Connection, Network, Neuron

Array = np.ndarray[Any, np.dtype[Any]]
DT = 1e-3
NOTHING = Noise()
RESETS = (
    nn.DelayedSubtract(),
    nn.ToValue(),
    dynamics.Subtract(),
    dynamics.DelayedToValue(),
    dynamics.NoReset(),
    dynamics.SnntorchSubtract(),
)


# ---- random networks


class Draw:
    """Random parts from one seed."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.normal(size=shape))

    def mask(self, *shape: int) -> Tensor | None:
        return torch.from_numpy(self.rng.random(shape) < 0.7) if self.chance(0.4) else None

    def bias(self, n: int) -> Tensor | None:
        return 0.2 * self.normal(n) if self.chance(0.4) else None

    def linear(self, n_in: int, n: int) -> Connection:
        made = nn.Linear(1.5 / n_in**0.5 * self.normal(n, n_in), self.bias(n), self.mask(n, n_in))
        return nn.SparseLinear.of(made) if self.chance(0.3) else made

    def connection(self, n_in: int, *, delayed: bool = True) -> Connection:
        """From 4, 8 or 12 inputs, or any other number, which only dense connections take."""
        kind = self.one("linear", "one", "conv1d", "conv2d", "pool", "delayed")
        if kind == "one":
            return nn.OneToOne(1.5 * self.normal(n_in), self.bias(n_in), self.mask(n_in))
        if kind == "delayed" and delayed:
            delay = self.one(2e-3, torch.from_numpy(1e-3 * self.rng.integers(0, 4, n_in)))
            return nn.Delayed(self.connection(n_in, delayed=False), delay)
        if n_in % 4 or kind in ("linear", "delayed"):
            return self.linear(n_in, int(self.rng.integers(2, 7)))
        n, shape, stride, padding = self.one(1, 2), (n_in // 4, 2, 2), self.one(1, 2), self.one(0, 1)
        if kind == "conv1d":
            kernel = self.normal(n, 2, 2)
            return nn.Conv1d(kernel, (2, n_in // 2), self.bias(n), self.mask(n, 2, 2), stride=stride, padding=padding)
        if kind == "conv2d":
            kernel = self.normal(n, shape[0], 2, 1)
            return nn.Conv2d(kernel, shape, self.bias(n), self.mask(*kernel.shape), stride=stride, padding=padding)
        pool = self.one(nn.AvgPool2d, nn.SumPool2d)(shape, (2, 1), self.one(None, 1))
        return nn.Chain(pool, nn.Linear(self.normal(4, pool.n_out), self.bias(4)))

    def value(self, low: float, high: float, core: Tensor) -> float | Tensor:
        """A number, one value for each core, or one for each neuron."""
        n, cores = len(core), int(core.max()) + 1
        shape = self.one((), (n,), (n,) if cores == n else (cores,))
        return torch.from_numpy(np.asarray(self.rng.uniform(low, high, shape)))

    def neuron(self, kind: str, connection: Connection) -> Neuron:
        n = connection.n_out
        core = torch.from_numpy(self.rng.integers(0, max(1, min(3, n - 1)), n))

        def value(low: float, high: float) -> Any:
            return self.value(low, high, core)

        def perhaps(low: float, high: float) -> Any:
            return value(low, high) if self.chance(0.4) else None

        if kind in ("li", "cuba li"):
            own = {"core": core, "tau_mem": value(5e-3, 3e-2), "r": perhaps(0.5, 2), "v_leak": perhaps(-0.2, 0.2)}
            if kind == "li":
                return nn.LeakyIntegrator(connection, **own)
            return nn.CubaLeakyIntegrator(connection, tau_syn=value(2e-3, 1e-2), **own)
        dense = self.one(nn.OneToOne(0.7 * self.normal(n), self.bias(n)), self.linear(n, n))
        own = {"core": core, "tau_mem": value(3e-3, 2e-2), "recurrent": dense if self.chance(0.4) else None}
        if kind == "adaptive":
            more = {"tau_adapt": value(2e-2, 0.1), "adaptation": value(0, 0.5), "v_threshold": value(0.05, 0.3)}
            return nn.AdaptiveLif(connection, **own, **more)
        own |= {"v_threshold": value(0.1, 0.5), "r": perhaps(0.5, 2), "v_leak": perhaps(-0.05, 0.05)}
        own |= {"t_ref": perhaps(1e-3, 4e-3)}
        if kind == "dpi":
            return self.dpi(connection, own | {"v_reset": perhaps(-0.05, 0.05)}, core)
        own["reset"] = self.one(*RESETS)
        if isinstance(own["reset"], nn.ToValue | dynamics.DelayedToValue):
            own["v_reset"] = perhaps(-0.1, 0.05)
        if kind == "lif":
            return nn.Lif(connection, **own)
        return nn.CubaLif(connection, tau_syn=value(2e-3, 1e-2), **own)

    def dpi(self, connection: Connection, own: dict[str, Any], core: Tensor) -> Neuron:
        own |= {f"tau_syn_{part}": self.value(2e-3, 1e-2, core) for part in ("exc", "inh")}
        own |= {"floor": self.one(dynamics.HardFloor(), dynamics.LeakyFloor(0.3), dynamics.NoFloor())}
        if not isinstance(own["floor"], dynamics.NoFloor):
            own["v_floor"] = self.value(-0.3, -0.06, core) if self.chance(0.4) else None
            own["inhibition"] = self.one(dynamics.PullsDown(), dynamics.CancelsExcitation())
        if self.chance(0.5):
            own |= {"tau_adapt": self.value(2e-2, 0.1, core), "adaptation": self.value(0, 0.2, core)}
            own["rule"] = self.one(dynamics.Ahp(), dynamics.AdaptiveThreshold())
        return nn.LinearizedDpi(connection, **own)


def random_network(seed: int) -> Network:
    """A few layers in float64, with skip connections, and a read-out of three classes."""
    draw = Draw(seed)
    sizes, layers, inputs = {"x": draw.one(4, 8, 12)}, dict[str, Neuron](), dict[str, list[str]]()
    for name in ("a", "b", "c")[: draw.rng.integers(1, 4)]:
        *others, last = sizes
        sources = [last, *([draw.one(*others)] if others and draw.chance(0.4) else [])]
        connection = draw.connection(sum(sizes[source] for source in sources))
        layers[name] = draw.neuron(draw.one("lif", "cuba", "adaptive", "dpi"), connection)
        inputs[name], sizes[name] = sources, layers[name].n
    last = list(layers)[-1]
    layers["out"] = draw.neuron(draw.one("li", "cuba li", "lif"), draw.linear(sizes[last], 3))
    return Network(layers, DT, inputs, draw.one(*nn.decoders.DECODERS)).double()


def random_events(seed: int, network: Network, n: int = 4, steps: int = 20) -> Tensor:
    """Counts of events 0, 1, 2, (n, steps, channels), float64."""
    rng = np.random.default_rng(1000 + seed)
    shape = (n, steps, network.n_in)
    return torch.from_numpy((rng.random(shape) < 0.35) * rng.integers(1, 3, shape)).double()


def random_noise(seed: int, network: Network, n: int = 4, steps: int = 20) -> Noise:
    """Added currents, lost spikes and read noise of some layers."""
    rng = np.random.default_rng(2000 + seed)
    added, kept, read = dict[str, Tensor](), dict[str, Tensor](), dict[str, tuple[Tensor, Tensor]]()
    for name, layer in network.layers().items():
        shape = steps, n, layer.n
        if rng.random() < 0.5:
            added[name] = torch.from_numpy(0.2 * rng.normal(size=shape))
        if rng.random() < 0.5:
            kept[name] = torch.from_numpy(1.0 * (rng.random(shape if rng.random() < 0.6 else shape[2:]) < 0.7))
        for part, connection in layer.connections().items():
            readable = list(connection.masks()) == ["weight"] and not isinstance(layer, nn.LinearizedDpi)
            if readable and rng.random() < 0.4:
                sigma = 0.3 * connection.get_parameter("weight").detach().abs()
                read[f"{name}.{part}"] = sigma, torch.from_numpy(rng.normal(size=shape))
    return Noise(added, kept, read)


# ---- what they compute


class Outcome(NamedTuple):
    """Logits, the outputs (T, B, n) of all layers, and the smallest distance of a membrane from its threshold."""

    logits: Array
    signals: dict[str, Array]
    margin: float


def outcome(network: Network, params: Mapping[str, Tensor], x: Tensor, noise: Noise = NOTHING) -> Outcome:
    """The network at these parameters, for an input (B, T, n_in)."""
    sent, signals, margin = {"x": _array(x).swapaxes(0, 1)}, dict[str, Array](), np.inf
    for name, layer in network.layers().items():
        own = {key.removeprefix(f"{name}."): value for key, value in params.items() if key.startswith(f"{name}.")}
        population = _Population(name, layer, own, noise)
        run = population.dpi if isinstance(layer, nn.LinearizedDpi) else population.lif
        signals[name] = run(np.concatenate([sent[source] for source in network.inputs[name]], -1))
        sent[name] = signals[name] * (_array(noise.kept[name]) if name in noise.kept else 1)
        margin = min(margin, population.margin)
    last = signals[network.names[-1]]
    ways = {"mean": last.mean(0), "sum": last.sum(0), "max": last.max(0), "last": last[-1], "per": last.swapaxes(0, 1)}
    return Outcome(ways[network.decode.__name__.partition("_")[0]], signals, margin)


def _array(value: Tensor) -> Array:
    return value.detach().numpy().astype(np.float64)


def _matrix(connection: Connection, own: Mapping[str, Tensor], prefix: str) -> tuple[Array, Array | float]:
    """Weights (n, n_in) and bias of one connection, entry by entry."""
    if isinstance(connection, nn.AvgPool2d | nn.SumPool2d):
        size = connection.kernel[0] * connection.kernel[1] if isinstance(connection, nn.AvgPool2d) else 1
        kernel = np.einsum("ij,kl->ijkl", np.eye(connection.shape[0]), np.ones(connection.kernel)) / size
        return _unrolled(kernel, connection.shape, connection.stride, (0, 0)), 0.0
    weight = _array(own[f"{prefix}.weight"])
    bias = _array(own[f"{prefix}.bias"]) if f"{prefix}.bias" in own else 0.0
    if isinstance(connection, nn.SparseLinear):
        full, lists = np.zeros((connection.n_out, connection.n_in)), connection.lists.numpy()
        starts, targets = lists[: connection.n_in + 1], lists[connection.n_in + 1 :]
        for source, (begin, end) in enumerate(pairwise(starts)):
            full[targets[begin:end], source] = weight[begin:end]
        return full, bias
    weight = weight * _array(connection.get_buffer("mask"))
    if isinstance(connection, nn.OneToOne):
        return np.diag(weight), bias
    if not isinstance(connection, nn.Conv1d | nn.Conv2d):
        return weight, bias
    flat = (1,) * (4 - weight.ndim)
    shape = (connection.shape[0], *flat, *connection.shape[1:])
    kernel = weight.reshape(*weight.shape[:2], *flat, *weight.shape[2:])
    full = _unrolled(kernel, shape, (*flat, *connection.stride), (*(0,) * len(flat), *connection.padding))
    return full, bias if np.ndim(bias) == 0 else np.repeat(bias, len(full) // len(weight))


def _unrolled(kernel: Array, shape: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Array:
    """A cross-correlation of images (C, H, W) as a matrix."""
    (n, _, high, wide), (channels, height, width) = kernel.shape, shape
    rows = (height + 2 * padding[0] - high) // stride[0] + 1
    columns = (width + 2 * padding[1] - wide) // stride[1] + 1
    full = np.zeros((n, rows, columns, channels, height, width))
    for i, j, k, m in np.ndindex(rows, columns, high, wide):
        y, x = i * stride[0] + k - padding[0], j * stride[1] + m - padding[1]
        if 0 <= y < height and 0 <= x < width:
            full[:, i, j, :, y, x] = kernel[:, :, k, m]
    return full.reshape(n * rows * columns, -1)


class _Population:
    """One layer at given parameters, with its part of the noise."""

    def __init__(self, name: str, layer: Neuron, own: Mapping[str, Tensor], noise: Noise):
        self.name, self.layer, self.own, self.noise, self.n = name, layer, own, noise, layer.n
        self.margin = np.inf
        self.alpha = np.exp(-DT / self.value("tau_mem"))
        self.r, self.leak = self.value("r", 1.0), self.value("v_leak", 0.0)
        self.waits = np.rint(self.value("t_ref", 0.0) / DT)

    def value(self, kind: str, default: float | None = None) -> Any:
        """A parameter for every neuron, or what stands for a missing one."""
        if kind not in self.own:
            return None if default is None else np.full(self.n, default)
        value = _array(self.own[kind])
        return (
            value
            if value.shape == (self.n,)
            else value[self.layer.core.numpy()]
            if value.ndim
            else value + np.zeros(self.n)
        )

    def arriving(self, x: Array) -> tuple[Array, Array, Array | float]:
        """What the last matrix of the input gets, that matrix, and its bias."""
        connection, prefix = self.layer.input, "input"
        if isinstance(connection, nn.Delayed):
            late = np.rint(_array(connection.delay) / DT).astype(int)
            x = np.stack([np.pad(x, ((k, 0), (0, 0), (0, 0)))[: len(x), :, i] for i, k in enumerate(late)], -1)
            connection, prefix = connection.connection, "input.connection"
        parts = connection.parts() if isinstance(connection, nn.Chain) else [connection]
        for i, part in enumerate(parts[:-1]):
            matrix, _ = _matrix(part, self.own, f"{prefix}.{i}")
            x = x @ matrix.T
        where = f"{prefix}.{len(parts) - 1}" if isinstance(connection, nn.Chain) else prefix
        return x, *_matrix(parts[-1], self.own, where)

    def recurrence(self) -> tuple[Array, Array | float]:
        if self.layer.recurrent is None:
            return np.zeros((self.n, self.n)), 0.0
        return _matrix(self.layer.recurrent, self.own, "recurrent")

    def read(self, part: str, x: Array, steps: int | slice) -> Array | float:
        """The current that read noise of a connection adds in these steps, whose input is x."""
        if f"{self.name}.{part}" not in self.noise.read:
            return 0.0
        sigma, xi = self.noise.read[f"{self.name}.{part}"]
        squares, _ = _matrix(getattr(self.layer, part), {f"{part}.weight": sigma.square()}, part)
        return np.sqrt(np.maximum(x**2 @ squares.T, 0)) * _array(xi)[steps]

    def added(self, shape: tuple[int, ...]) -> Array:
        return _array(self.noise.added[self.name]) if self.name in self.noise.added else np.zeros(shape)

    def kept(self, shape: tuple[int, ...]) -> Array:
        kept = _array(self.noise.kept[self.name]) if self.name in self.noise.kept else np.ones(self.n)
        return np.broadcast_to(kept, shape)

    def spikes(self, above: Array, held: Array) -> Array:
        """Where membranes are above their thresholds, and free to spike."""
        self.margin = min(self.margin, float(np.abs(above)[~held].min(initial=np.inf)))
        return np.where((above > 0) & ~held, 1.0, 0.0)

    def lif(self, x: Array) -> Array:
        """Models of the LIF family, with or without spikes."""
        x, weight, bias = self.arriving(x)
        back, constant = self.recurrence()
        shape = (*x.shape[:2], self.n)
        current = x @ weight.T + bias + constant + self.added(shape) + self.read("input", x, slice(None))
        kept, reset = self.kept(shape), type(getattr(self.layer, "reset", None)).__name__
        tau_syn, tau_adapt, low = self.value("tau_syn"), self.value("tau_adapt"), self.value("v_reset", 0.0)
        threshold = rest = self.value("v_threshold", np.inf)
        v, found = np.tile(self.leak, (shape[1], 1)), list[Array]()
        i = b = left = z = np.zeros(shape[1:])
        for t in range(shape[0]):
            arrived = z * kept[t - 1] if t else z
            drive = current[t] + arrived @ back.T + self.read("recurrent", arrived, t)
            if tau_syn is not None:
                i = np.exp(-DT / tau_syn) * i + (1 - np.exp(-DT / tau_syn)) * drive
                drive = i
            barrier, held = np.zeros(shape[1:]), left > 0
            if tau_adapt is not None:  # one silent step after each spike
                b = np.exp(-DT / tau_adapt) * b + (1 - np.exp(-DT / tau_adapt)) * z
                threshold, held = rest + self.value("adaptation") * b, z > 0
            if reset == "SnntorchSubtract":
                barrier = np.where(v > threshold, threshold, 0)
            if reset == "DelayedToValue":
                v = np.where(z > 0, low, v)
            v = self.alpha * v + (1 - self.alpha) * (self.leak + self.r * drive)
            if reset == "DelayedSubtract" or tau_adapt is not None:
                v = v - z * threshold
            if not self.layer.spiking:
                found.append(v)
                continue
            z = self.spikes(v - threshold - barrier, held)
            left = np.where(z > 0, self.waits, left - 1)
            if reset == "ToValue":
                v = np.where(z > 0, low, v)
            if reset in ("Subtract", "SnntorchSubtract"):
                v = v - z * threshold
            found.append(z)
        return np.stack(found)

    def dpi(self, x: Array) -> Array:
        """LinearizedDpi, by the numbers of its docstring."""
        layer = self.layer
        assert isinstance(layer, nn.LinearizedDpi)
        x, weight, bias = self.arriving(x)
        back, constant = self.recurrence()
        shape = (*x.shape[:2], self.n)
        kept, pushed, threshold = self.kept(shape), self.added(shape), self.value("v_threshold")
        tau = [self.value("exc.tau_syn"), self.value("inh.tau_syn"), self.value("tau_adapt", 1.0)]
        sigma = [np.exp(-DT / each) for each in tau]
        mean = [(1 - each) * own / DT for each, own in zip(sigma, tau)]
        low, floor, size = self.value("v_reset"), self.value("v_floor", 0.0), self.value("adaptation", 0.0)
        low = self.leak if low is None else low
        exc = inh = b = left = z = np.zeros(shape[1:])
        v, found = np.tile(self.leak, (shape[1], 1)), list[Array]()
        for t in range(shape[0]):
            arrived = z * kept[t - 1] if t else z
            exc = sigma[0] * exc + x[t] @ np.maximum(weight, 0).T + arrived @ np.maximum(back, 0).T
            inh = sigma[1] * inh + x[t] @ np.maximum(-weight, 0).T + arrived @ np.maximum(-back, 0).T
            b = sigma[2] * b + z
            drive = mean[0] * exc - mean[1] * inh + bias + constant
            if isinstance(layer.inhibition, dynamics.CancelsExcitation):
                drive = np.maximum(drive, 0)
            by_current = isinstance(layer.rule, dynamics.Ahp)
            drive = drive - mean[2] * size * b if by_current else drive
            v = self.alpha * v + (1 - self.alpha) * (self.leak + self.r * (drive + pushed[t]))
            v = v if isinstance(layer.floor, dynamics.NoFloor) else np.maximum(v, floor)
            held = left > 0
            v = np.where(held, low, v)
            z = self.spikes(v - threshold - (0 if by_current else size * b), held)
            left = np.where(z > 0, self.waits, left - 1)
            v = np.where(z > 0, low, v)
            found.append(z)
        return np.stack(found)
