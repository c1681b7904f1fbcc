"""snnTorch networks with the same spikes and with time constants and thresholds as parameters in SI units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from snntorch import SpikingNeuron
from torch import Tensor, nn

from .._util.errors import check_input, check_number, unknown
from .._util.warn import warn
from ..core.placement import HOST, Placement
from ..core.run import differentiating, evaluating
from ..kernels.runtime.threads import beside_others
from .decode import MEMBRANES, Output, spike_count
from .feeds import Wiring, measured_wiring
from .kinds import (
    adopt,
    arrays_of,
    check_alike,
    check_embeddings,
    check_overrides,
    check_plain,
    check_registered,
    exact_norms,
    kinds_of,
    named,
    override,
    slots_of,
    spelled_out,
)
from .look import Foreign
from .memory import Memory
from .snntorch_decode import choose
from .snntorch_look import Found, Preparation, Prepare, alike_in_form, find, more, time_first
from .snntorch_neurons import (
    NUMBERS,
    SOURCES,
    STATES,
    alone,
    buffers_of,
    check_fits,
    check_neurons,
    check_range,
    equations_of,
    from_si,
    is_exact,
    is_trained,
    neurons_of,
    prepared,
    to_si,
)
from .snntorch_place import Core, Placing, check_cores, check_feeds
from .snntorch_print import name_of, table
from .snntorch_states import needed
from .unrolled import Record, Steps, Unrolled, is_row
from .wrapped import Decode, logits_of

TIES, SERVED = 0.01, 2 / 3
"""Share of spikes that may differ between a loop and the same loop run ahead, on a sample, as float32 rounds otherwise;
and share of the calls of neurons that are run ahead at least, so that it pays."""
GRADED = "graded_spikes_factor.weight"


class Part(NamedTuple):
    """One module of a user's network.

    Attributes:
        name: in that network. module: a layer with the present weights, or a neuron, whose own numbers are stale.
        numbers: present numbers of a neuron under snnTorch's names (``beta``, ``threshold`` …); empty for a layer.
        trained: the kinds of a neuron's numbers that are trained.
        shape: of the signal of a neuron, without batch and time.
    """

    name: str
    module: nn.Module
    numbers: dict[str, Tensor]
    trained: frozenset[str]
    shape: tuple[int, ...] = ()


class _Original:
    """The user's network, kept beside a converted copy; a deepcopy keeps the same user's network."""

    def __init__(self, net: nn.Module):
        self.net = net

    def __deepcopy__(self, memo: dict) -> _Original:
        return self


class SnnTorchNetwork(Foreign):
    """An snnTorch network as a network of this package; :func:`from_snntorch` makes it.

    Attributes:
        original: holds the user's network, which :func:`to_snntorch` writes to.
        links: for each neuron, the parameters here that replace its numbers. slots: where that network has the others.

    Raises:
        ValueError: ``dt`` is not above 0, or a number of the network that cannot be represented, by name.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> model = nr.from_snntorch(net, dt=1e-3, decode=nr.interop.decode.spike_count)
        >>> round(1e3 * model.get_parameter("1.tau_mem").item(), 2)  # ms: −1/ln 0.9
        9.49
    """

    dt: float
    incidental = ("original", "watch", "_sample", "_lists", "_wiring")  # of the original this module holds a copy

    def __init__(self, net: nn.Module, dt: float, kinds: Mapping[str, str]):
        super().__init__()
        self.dt = check_number("dt", dt, strict=True)
        self.decode: Decode = spike_count
        self._prepare: Prepare = time_first
        self.original, self._steps = _Original(net), Steps()
        inner, originals = prepared(net), neurons_of(net)
        dtype = next(net.parameters()).dtype
        numbers = {name: to_si(neuron, dt, dtype) for name, neuron in originals.items()}
        theirs = [f"{name}.{SOURCES[key]}" for name, values in numbers.items() for key in values]
        ours = [f"{name}.{key}" for name, values in numbers.items() for key in values]
        own = [name for name, _ in inner.named_parameters()]
        kinds = spelled_out(inner, kinds)
        kinds |= exact_norms(inner, kinds)
        check_overrides(kinds, own + theirs + ours)
        self.links: dict[str, tuple[str, ...]] = {}
        exact: list[str] = []
        for name, values in numbers.items():
            for key in list(values):
                chosen = override(f"{name}.{SOURCES[key]}", kinds) or override(f"{name}.{key}", kinds)
                if chosen == "digital":
                    del values[key]
                elif chosen not in (None, key.rpartition(".")[2]):
                    raise unknown(f"kinds: {name}.{SOURCES[key]}", chosen, ["digital", key.rpartition(".")[2]])
            for key in [key for key, value in values.items() if is_exact(originals[name], key, value)]:
                exact.append(f"{name}.{SOURCES[key]}")
                del values[key]
            for key, value in values.items():
                check_range(name, key, value)
                adopt(self, f"{name}.{key}", nn.Parameter(value, is_trained(originals[name], key)))
            self.links[name] = tuple(values)
        if exact:
            warn(
                f"net: {', '.join(exact)} of 0, or of 1 and more: there is no time constant that could deviate, so it "
                f"stays exact. kinds={{{exact[0]!r}: 'digital'}} says so, without this warning."
            )
        kept = {pattern: kind for pattern, kind in kinds.items() if any(override(n, {pattern: kind}) for n in own)}
        self.slots = {}
        for name, kind in kinds_of(inner, kept).items():
            parameter = inner.get_parameter(name)
            adopt(self, named(name, kind), parameter)
            self.slots[named(name, kind)] = tuple(f"_unrolled.net.{slot}" for slot in slots_of(inner, parameter))
        self._unrolled = Unrolled(inner)
        self._lists = [
            (held, len(held)) for part in inner.modules() for held in vars(part).values() if type(held) is list
        ]
        self._shapes: dict[str, torch.Size] = {}
        self._sample: torch.Size | None = None
        self._batch: int | None = None  # the only number of samples that the module takes
        self._wiring = Wiring({}, ())
        self._placing = Placing({}, {})
        self.training = net.training  # each part of the copy has the mode that it had

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples (B, T, …), batch first → logits (B, n_classes) and the spikes (T, B, …) of every neuron.

        A module of a fixed batch size runs in batches of that size, the last one filled up with its first sample.
        """
        if self._batch in (None, len(x)) or not len(x):
            return self._samples(x)
        assert self._batch is not None
        parts = [self._samples(torch.cat([part, part[:1].expand(self._batch - len(part), *part.shape[1:])]))
                 for part in x.split(self._batch)]  # fmt: skip
        spikes = {name: torch.cat([each[name] for _, each in parts], 1)[:, : len(x)] for name in parts[0][1]}
        return torch.cat([logits for logits, _ in parts])[: len(x)], spikes

    def _samples(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        beside_others()
        with self.guarded():  # prepare and decode are foreign code too
            output, record = self._run(x)
            logits = logits_of(output, self.decode, len(x))
        if not_seen := [name for name in record.spikes if name not in self._shapes]:
            raise ValueError(
                f"x: neuron {', '.join(not_seen)} runs on these inputs but did not run on the sample, so it would not "
                f"deviate; call nr.from_snntorch with a sample on which every neuron runs."
            )
        return logits, record.spikes

    def _run(self, x: Tensor) -> tuple[Output, Record]:
        """The output of the user's network on samples (B, T, …), and the record of every neuron."""
        expected = self._sample
        fits = expected is None or (x.ndim > 1 and x.shape[2:] == expected[2:] and x.shape[1] > 0)
        if expected is not None and self._prepare is time_first and not fits:
            shape = ", ".join(["B", "T", *map(str, expected[2:])])
            raise ValueError(f"x: got shape {tuple(x.shape)}; expected ({shape}), with one step or more.")
        try:
            return self._pass(self._prepare(x), self._steps)
        except (RuntimeError, IndexError) as error:
            if not (x.is_floating_point() or x.is_complex()) and "dtype" in str(error):
                raise ValueError(f"x: got {x.dtype}; the network computes with floating numbers: x.float().") from error
            if expected is None or x.shape[1:] == expected[1:]:
                raise
            raise ValueError(
                f"x: samples of shape {tuple(x.shape[1:])} do not go through the network ({error}); the sample that it "
                f"was made with has shape {tuple(expected[1:])}."
            ) from error

    def _pass(self, inputs: Any, steps: Steps, looking: bool = False) -> tuple[Output, Record]:
        """The output of the user's network on its own inputs, and the record of every neuron."""
        like = next(self.parameters())
        for value in inputs if isinstance(inputs, tuple) else (inputs,):
            if isinstance(value, Tensor):
                check_input(value, like, integers=True)
        neurons = neurons_of(self._unrolled.net)
        tensors: dict[str, Tensor] = {}
        for name, neuron in neurons.items():
            values = {key: attrgetter(f"{name}.{key}")(self) for key in self.links[name]}
            for key, value in from_si(neuron, values, self.dt).items():
                tensors[f"net.{name}.{key}"] = value
                if key == "V":  # its one-to-one connection holds the same tensor
                    tensors[f"net.{name}.recurrent.V"] = value
            buffers = buffers_of(neuron)
            tensors |= {f"net.{name}.{key}": like.new_zeros(0) for key in STATES if key in buffers}
        arguments = (inputs, steps, looking)
        try:
            with alone(neurons.values()):
                output, record = torch.func.functional_call(self._unrolled, tensors, arguments, tie_weights=False)
        finally:
            for neuron in neurons.values():
                neuron.__dict__.pop("reset", None)
            for held, size in self._lists if self.watch.tensors is not None else ():
                del held[size:]  # a record that forward only adds to would grow, with its graphs
        for name, keys in self.links.items():
            if lost := record.replaced & {f"{name}.{SOURCES[key]}" for key in keys}:
                raise ValueError(
                    f"net: {', '.join(sorted(lost))} is replaced by code of the network in every pass, so no die could "
                    f"change it; kinds={{{min(lost)!r}: 'digital'}} keeps it as that code computes it."
                )
        return output, record

    def measure(self, x: Tensor, prepare: Prepare | None, decode: Decode | None) -> None:
        """Run samples (B, T, …): find the input of the module, the size of each layer and the decoder, and leave idle
        neurons as they are.

        Raises:
            ValueError: the network cannot run on the sample, or a number does not fit its layer; see :func:`find`.
        """
        net = self._unrolled.net
        with torch.no_grad(), evaluating(self):
            trial = find(self._trial, net, prepare, is_row(net), x)
            self._prepare, self._steps = trial.way.prepare, trial.way.steps
            self._batch = self._fixed_batch(trial.way, x)
            output, record = trial.output, trial.record
            if decode is None and record.spikes and len(x) in (1, len(next(iter(record.spikes.values())))):
                with suppress(Exception):  # as many samples as steps: which is which?
                    output, record = self._trial(trial.way, more(x))
            self.decode = choose(output, record, net) if decode is None else decode
            if decode is not None:
                self._check_decode(output, record, len(x))
        spikes = trial.record.spikes
        self._shapes, self._sample = {name: each.shape[2:] for name, each in spikes.items()}, x.shape
        for name, shape in self._shapes.items():
            for key in self.links[name]:
                check_fits(f"{name}.{SOURCES[key]}", attrgetter(f"{name}.{key}")(self), shape)
        if idle := [name for name in self.links if name not in self._shapes]:
            warn(f"net: neuron {', '.join(idle)} never ran on the sample; no die and no attack changes its numbers.")
        for name in idle:
            self._leave(name)
        self._wiring = self._measured_wiring(trial.way, x)
        with torch.no_grad(), evaluating(self):
            self._steps = self._run_ahead(trial, x)

    def _measured_wiring(self, way: Preparation, x: Tensor) -> Wiring:
        """On which neurons each module with weights acts, and the order of the modules, in passes on a few samples."""
        few = x[: 2 if self._batch is None else None]

        def run() -> Any:
            output, _ = self._pass(way.prepare(few), way.steps)
            with suppress(Exception):  # a decoder may need more steps than the sample has
                return self.decode(output)
            return output

        with self.unjudged(), self.guarded(), evaluating(self):
            return measured_wiring(self._unrolled.net, dict(self.named_parameters()), run)

    def _trial(self, way: Preparation, x: Tensor) -> tuple[Output, Record]:
        """One pass of the first look, which leaves nothing behind."""
        with self.unjudged(), self.guarded():
            return self._pass(way.prepare(x), way.steps, looking=True)

    def _run_ahead(self, trial: Found, x: Tensor) -> Steps:
        """How the module is called: ahead, if that serves most calls of its neurons and gives the same spikes, but for
        ties."""
        spikes, steps = trial.record.spikes, trial.way.steps
        ahead = steps._replace(ahead={name: len(each) for name, each in spikes.items()})
        try:
            output, record = self._trial(trial.way._replace(steps=ahead), x)
        except Exception:
            return steps
        lanes = record.lanes
        if (
            lanes is None
            or not lanes.calls
            or lanes.served < SERVED * lanes.calls
            or spikes.keys() != record.spikes.keys()
        ):
            return steps
        pairs = [(each, record.spikes[name]) for name, each in spikes.items()]
        if not alike_in_form(output, trial.output) or any(one.shape != other.shape for one, other in pairs):
            return steps
        if any((one != other).double().mean() > TIES for one, other in pairs):
            return steps
        x = x.detach().clone().requires_grad_(x.is_floating_point())
        try:
            with differentiating():  # torch refuses some writes only where it records gradients
                graphed = self._trial(trial.way._replace(steps=ahead), x)[1]
        except Exception:
            return steps
        return steps if graphed.lanes is None else ahead

    def _fixed_batch(self, way: Preparation, x: Tensor) -> int | None:
        """The number of samples, if the module takes no other."""
        try:
            self._trial(way, x[:-1] if len(x) > 1 else more(x))
        except Exception:
            return len(x)
        return None

    def _check_decode(self, output: Output, record: Record, samples: int) -> None:
        spikes = record.spikes.get(record.latest)
        if (
            self.decode in MEMBRANES
            and isinstance(output, Tensor)
            and spikes is not None
            and torch.equal(output, spikes)
        ):
            raise ValueError(
                "decode: the network gives spikes alone; its last neuron needs output=True to give its membrane too, "
                "or decode with spike_count."
            )
        try:
            logits = self.decode(output)
        except Exception as error:  # a decoder may need more steps than the sample has
            if str(error).startswith("decode: "):
                raise
        else:
            logits_of(logits, None, samples)

    @contextmanager
    def unjudged(self) -> Iterator[None]:
        """A context for passes after which the network is as it was: its numbers too, if the module writes into them.
        A pass may draw random numbers; the look that follows tells whether it draws new ones."""
        memory, self.watch.ends = Memory(self, self.watch), []
        try:
            yield
        finally:
            memory.restore()
            self.watch.ends = None

    def _leave(self, neuron: str) -> None:
        """Take the numbers and the weights of a neuron out of the parameters; they become buffers of the copy."""
        inner = self.get_submodule(f"_unrolled.net.{neuron}")
        names = [name for name in self.slots if name.startswith(f"{neuron}.")]
        for name in [*names, *(f"{neuron}.{key}" for key in self.links[neuron])]:
            path, _, last = name.rpartition(".")
            delattr(self.get_submodule(path), last)
            self.slots.pop(name, None)
        for path, parameter in list(inner.named_parameters()):
            path, _, last = path.rpartition(".")
            holder = inner.get_submodule(path)
            delattr(holder, last)
            holder.register_buffer(last, parameter.detach())
        self.links[neuron] = ()

    @property
    def step_shape(self) -> torch.Size | None:
        """The shape of one step of a sample; None where ``prepare`` is not time first."""
        return self._sample[2:] if self._prepare is time_first and self._sample is not None else None

    def written_call(self, x: Tensor) -> tuple[list[str], list[str]] | None:
        """How a pass on samples calls the user's network; see :meth:`Foreign.written_call`."""
        names = ["x", *needed(self._unrolled.net)]
        if self._steps.carried or is_row(self._unrolled.net):
            return None
        if not self._steps.by_step:
            return names, [f"return self.net({', '.join(names)})"]
        call = f"[self.net({', '.join(['step', *names[1:]])}) for step in x]"
        output = self._run(x)[0]
        if isinstance(output, Tensor):
            return names, [f"return torch.stack({call})"]
        several = isinstance(output, tuple) and all(isinstance(part, Tensor) for part in output)
        return (names, [f"return tuple(map(torch.stack, zip(*{call})))"]) if several else None

    def snntorch_parts(self) -> Iterator[Part]:
        """The innermost modules of the user's network, in the order in which a pass calls them first."""
        inner = self._unrolled.net
        neurons = neurons_of(inner)
        for name, module in sorted(inner.named_modules(), key=lambda part: self._wiring.turn(part[0])):
            if name in neurons:
                values = {key: attrgetter(f"{name}.{key}")(self) for key in self.links[name]}
                numbers = {key: value for key, value in buffers_of(module).items() if key in NUMBERS}
                trained = frozenset(key for key, value in values.items() if value.requires_grad)
                shape = tuple(self._shapes[name])
                yield Part(name, module, numbers | from_si(module, values, self.dt), trained, shape)
            elif not any(name.startswith(f"{neuron}.") for neuron in neurons) and not list(module.children()):
                yield Part(name, module, {}, frozenset())

    def __repr__(self) -> str:
        """What the module is given, the decoder, and each layer of neurons with its numbers; it fits a screen."""
        inner = self._unrolled.net
        neurons = {
            name: (neuron, self._shapes[name], {key: attrgetter(f"{name}.{key}")(self) for key in self.links[name]})
            for name, neuron in neurons_of(inner).items()
            if name in self._shapes
        }
        own = {f"{name}.{key}" for name in neurons for key in self.links[name]}
        calls = ", one call per step" if self._steps.by_step else ""
        ahead = "" if self._steps.ahead is None else ", run ahead"
        batch = "" if self._batch is None else f", {self._batch} samples at a time"
        heading = (
            f"SnnTorchNetwork of {type(inner).__name__}: dt {1e3 * self.dt:g} ms, "
            f"prepare {name_of(self._prepare)}{calls}{batch}, decode {name_of(self.decode)}{ahead}"
        )
        weights = {name: value for name, value in self.named_parameters() if name not in own}
        return table(heading, neurons, weights, self._placing.cores)

    def place(self, cores: Mapping[str, Core], feeds: Mapping[str, str | int] | None = None) -> None:
        """Set the core of every neuron, so that a chip can be programmed.

        Synapses belong to the neurons on which they act. One pass on the sample showed which these are: each input of
        a neuron was followed back to the weights. Weights that act on the output only are a read-out on the host.

        Args:
            cores: by neuron layer, the core of each neuron (n,), or one core for all; ``nr.HOST`` for a layer
                off the chip.
            feeds: by module with weights, the layer of neurons on which its synapses end, or ``nr.HOST`` for a
                read-out on the host. Needed only where the pass shows several answers, or none.

        Raises:
            TypeError, ValueError: a layer, a core or a module is wrong, or an answer is missing; the message has the
                call to copy.
        """
        placed = check_cores(cores, self._shapes)
        inner = self._unrolled.net
        order = [name for name, _ in inner.named_modules()]
        found = check_feeds(placed, dict(feeds or {}), self._wiring.ends, order)
        host = {module: self._host_rows(module) for module, layer in found.items() if layer == HOST}
        feeding = {module: str(layer) for module, layer in found.items() if layer != HOST}
        self._placing = Placing(placed | host, feeding, tuple(placed))

    def placing(self) -> Mapping[str, Any] | None:
        """The arguments of :meth:`place`, with all feeds; None if the network is not placed."""
        placing = self._placing
        if not placing.cores:
            return None
        cores = {name: placing.cores[name] for name in placing.neurons}
        host = {name: HOST for name in placing.cores if name not in cores}
        return {"cores": cores, "feeds": {**placing.feeds, **host}}

    def _host_rows(self, module: str) -> Tensor:
        """The core of each output of a module on the host."""
        rows = [len(value) for name, value in self.named_parameters() if name.startswith(f"{module}.") and value.ndim]
        return torch.full((max(rows, default=1),), HOST)

    def placement(self) -> Placement:
        """The sites of all parameters, and the equations of all neurons; a weight of exactly 0 is no synapse."""
        index = {}
        for name, keys in self.links.items():
            if (shape := self._shapes.get(name)) is None:
                continue
            for key in keys:
                value = attrgetter(f"{name}.{key}")(self)
                if value.shape != shape:
                    entries = torch.arange(value.numel(), device=value.device).reshape(value.shape)
                    index[f"{name}.{key}"] = entries.expand(shape)
        masks = {
            name: value != 0
            for name, value in self.named_parameters()
            if self._placing.cores and name.endswith(".weight") and value.ndim and not name.endswith(GRADED)
        }
        neurons = neurons_of(self._unrolled.net)
        equations = {name: equations_of(neurons[name]) for name in self._shapes}
        arrays = [named(name, "weight") for name in arrays_of(self._unrolled.net)]
        cores, feeds, _ = self._placing
        return Placement(
            cores,
            index,
            masks,
            feeds,
            equations=equations,
            arrays=tuple(arrays),
            unplaced={} if cores else {name: shape.numel() for name, shape in self._shapes.items()},
        )


def from_snntorch(
    net: nn.Module,
    dt: float,
    *,
    decode: Decode | None = None,
    prepare: Prepare | None = None,
    sample: Tensor | None = None,
    kinds: Mapping[str, str] | None = None,
) -> SnnTorchNetwork:
    """Make an snnTorch network ready for attacks, robust training and dies: the same weights, the same spikes.

    A decay becomes a time constant in seconds, tau_mem = −dt/ln β and tau_syn = −dt/ln α; a threshold v_threshold;
    the weights ``V`` of a one-to-one recurrence and graded spikes a weight. The gain stays 1 when tau_mem deviates, as
    in snnTorch when β does. A number that snnTorch has once per layer deviates independently on each neuron.
    Numbers that snnTorch learns (``learn_beta`` …) are trained, the others keep their nominal values.

    ``net`` does not change, nor does its hidden state; :func:`to_snntorch` writes the trained numbers back into it.

    Args:
        net: an ``nn.Sequential`` whose neurons have ``init_hidden=True`` (called for every step), or any module with
            one input: the whole sequence (T, B, …), time first, over which it loops; samples first; a picture that it
            repeats; or one step, with ``init_hidden=True`` or with states that it takes and gives back.
        dt: length of one time step, s.
        decode: from the network's output, stacked over time, to logits; see ``nr.interop.decode``. None: a read-out
            that comes first, else the mean membrane if the last neuron has no reset, else the spike count; logits
            (B, n) as they are. A warning says which, unless there are logits alone.
        prepare: from samples, batch first, to the input of the module, or to a tuple of all its arguments. None: time
            first, or another way with which the module runs on the sample; a warning says which.
        sample: inputs (B, T, …), batch first, run to find the input of the module and the number of neurons of each
            layer. A Sequential that begins with ``nn.Linear`` needs none.
        kinds: kinds by name or pattern of snnTorch's names; ``{"1.beta": "digital"}`` keeps a decay constant:
            neither attacked nor trained. Norms stay exact, with a warning unless they are named.

    Raises:
        TypeError, ValueError: no snnTorch neuron; a neuron, option or number that cannot be represented, by name; a
            module that does not run on the sample, or that runs in two ways with different outputs.

    Warns:
        UserWarning: the way in or the decoder that was found; neurons that never ran; numbers that stay exact.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
        >>> [name for name, _ in nr.from_snntorch(net, dt=1e-3).named_parameters()]
        ['1.tau_mem', '1.v_threshold', '0.weight', '0.bias']
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: got {type(net).__name__}; expected a torch.nn.Module with snnTorch neurons.")
    check_plain(net)
    check_embeddings(net)
    check_neurons(net)
    check_registered(net, SpikingNeuron)
    if not neurons_of(net):
        raise ValueError("net: has no snnTorch neuron; nr.wrap takes any torch module.")
    if "" in neurons_of(net):
        raise ValueError("net: is a single neuron; put it into an nn.Sequential.")
    check_alike(net)
    for argument, function in (("decode", decode), ("prepare", prepare)):
        if function is not None and not callable(function):
            raise TypeError(f"{argument}: got {function!r}; expected a function; see nr.interop.decode.")
    model = SnnTorchNetwork(net, dt, kinds or {})
    if not (given := sample is not None):
        first = next((module for module in net.modules() if not isinstance(module, nn.Sequential)), net)
        if not is_row(net) or not isinstance(first, nn.Linear):
            raise ValueError("sample: needed, some inputs (B, T, …), to learn how many neurons each layer has.")
        sample, prepare = first.weight.new_zeros(1, 1, first.in_features), prepare or time_first
    elif not isinstance(sample, Tensor) or sample.ndim < 2 or 0 in sample.shape:
        raise ValueError(f"sample: got {sample!r}; expected a tensor of inputs, batch first (B, T, …).")
    model.measure(sample, prepare, decode)
    if given:
        model.first_look(sample)
    return model
