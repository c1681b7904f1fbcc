"""The look at a foreign module: is it a function of its input and its parameters?

Everything in this package runs a network again and again at other parameters and compares the outputs. So the outputs
must depend on the input and on the parameters alone: not on earlier passes, on random numbers, or on other samples. And
the parameters must act through the places where a pass puts them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .._util.randomness import generator
from .._util.warn import warn
from ..core.params import DIGITAL, Params, kind_of
from ..core.placement import Placement, expand
from ..core.run import evaluating, forward, nominal
from .excited import excited, moved, repeats, rows_differ, same, same_state
from .guard import RandomState, plain_checkpoints, quiet
from .memory import MOST, Memory, poisoned
from .rest import left_by_a_pass, way_out
from .words import KeepsState, Refused, draws, held, inner, keeps_state, short

SAMPLES = 8
MOST_SAMPLES = 250  # for a module that takes no fewer
MOST_PARAMETERS = 64  # tested one by one, at most


_ONE = RLock()
"""One pass of foreign code at a time: the generators that it must not touch belong to the whole process. A look makes
passes of several networks of one module; so this is the turn of each (:func:`~neurorobust.core.turns.turn`)."""


@dataclass(eq=False)
class Watch:
    """Facts about a foreign module.

    Attributes:
        tensors: those of the network at the last look; None before the first.
        reseeds: the global random generators that forward seeds itself.
        ends: during a look, the generators that each pass left changed, with their states.
    """

    tensors: tuple | None = None
    reseeds: frozenset[str] = frozenset()
    ends: list[dict[str, bytes]] | None = None


class Foreign(nn.Module):
    """A network around a foreign module. Its forward pass runs foreign code inside ``with self.guarded():``.

    Attributes:
        slots: for each parameter, all places of its tensor in this network.
        masks: where the synapses of a weight exist, if a hook of the module keeps others absent.
        turn: one for all such networks.
    """

    turn = _ONE
    masks: Mapping[str, Tensor] = MappingProxyType({})
    slots: dict[str, tuple[str, ...]]
    dt: float | None = None
    incidental: tuple[str, ...] = ("watch",)  # what was already checked is no part of a network

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """One pass of foreign code: what it would compute again in the backward pass is kept; in ``eval`` mode it may
        not draw from a global random generator."""
        with _ONE, plain_checkpoints():
            if any(part.training for part in inner(self).modules()):  # not those that hold parameters here
                yield
                return
            before = RandomState()
            try:
                yield
            finally:
                drew = RandomState().changed_since(before)
                if drew:
                    before.restore()
            if self.watch.ends is not None:
                self.watch.ends.append(drew)
            elif not drew.keys() <= self.watch.reseeds:
                raise draws(self)

    def placement(self) -> Placement:
        """Where the parameters are; a subclass knows more."""
        return Placement()

    def written_call(self, x: Tensor) -> tuple[list[str], list[str]] | None:
        """How a pass on samples calls the foreign module ``self.net``, as code: the arguments, and the lines; None
        where that takes more than a few lines."""
        return ["x"], ["return self.net(x)"]

    def first_look(self, x: Tensor) -> None:
        """Look at the module, unless that was done before; see :func:`check_function`."""
        if self.watch.tensors is None:
            look(self, x)


@dataclass(frozen=True, eq=False)
class Point:
    """Parameters and input at which the module runs, and what it gave there."""

    params: Params
    x: Tensor
    outputs: Tensor


def check_function(network: nn.Module, x: Tensor) -> None:
    """Check that the foreign module in a network, if there is one, is a function of its input and its parameters.

    It runs on a few samples at its own parameters and at others, so strongly changed that a silent network speaks. The
    full look is taken once; later, when a parameter or buffer has changed since, a shorter one. The module is left as
    it was: its plain attributes, its buffers, the modes of all parts, the global random generators.

    Args:
        network: any network. x: samples; the first eight are used, more only if the module takes no eight.

    Raises:
        ValueError: it draws random numbers; it keeps state between passes; a sample's output depends on other samples;
            a parameter acts past the places that a pass gives it; its gradient is that of other parameters.

    Warns:
        UserWarning: parameters that do not act on the outputs, by name.
    """
    for part in network.modules():
        if isinstance(part, Foreign) and part.watch.tensors != tensors_of(part):
            look(part, x)


def tensors_of(network: nn.Module) -> tuple:
    """Which tensors a network has and in which version, to notice a change."""
    return tuple(
        (
            name,
            value.data_ptr() if value.layout == torch.strided else id(value),
            -1 if value.is_inference() else value._version,
        )
        for name, value in [*network.named_parameters(), *network.named_buffers()]
    )


def look(network: Foreign, x: Tensor) -> None:
    """Look at a module now; see :func:`check_function`."""
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if value.is_inference():
            raise Refused(
                f"module: {short(name)} was made inside torch.inference_mode(), so it has no gradient; make the "
                f"module outside of it."
            )
        if value.is_meta:
            raise Refused(f"module: {short(name)} is on the device meta, so it has no values; use cpu or cuda.")
    with _ONE, torch.inference_mode(False):
        try:
            _look(network, x)
        except KeepsState as refused:  # the module is again as it was
            told = str(refused) + way_out(network, x.detach()[:SAMPLES], refused.names)
            raise Refused(told) from None
        except (Refused, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if told := left_by_a_pass(network, x.detach()[:SAMPLES]):
                raise Refused(f"module: {held(network)} does not run on these samples ({error}): {told}") from error
            raise


def _look(network: Foreign, x: Tensor) -> None:
    first, found = network.watch.tensors is None, tensors_of(network)
    idle: list[str] = []
    without: list[str] = []
    changed: set[str] = set()
    with evaluating(network), quiet():
        memory, state = _memory(network), RandomState()  # in eval mode, to which it may be put back
        try:
            with torch.no_grad():
                x, drawn = _check_draws(network, x.detach())
                points = _check_history(network, x, drawn, memory, first)
                _check_poison(network, points)
                if first:
                    _check_neurons(network, points[0])
                    _check_samples(network, points)
            if first:
                _check_places(network, points)
                for point in points[:2]:
                    _check_gradient_history(network, point, points, memory)
                _check_gradients(network, points)
                changed = _overwritten(network, points[0])
                idle, without = _idle(network, points, changed)
        finally:
            memory.restore()
            state.restore()
    network.watch.tensors = found
    if first and memory.crowded:
        warn(
            f"module: {held(network)} holds more than {MOST} things that can change, most of them in "
            f"{short(memory.crowded)}: the look for state between passes saw the nearest ones only. Keep numbers in a "
            f"tensor or an array, or in one list of plain numbers."
        )
    if idle:
        warn(
            f"module: the outputs of {held(network)} for {len(x)} samples do not depend on {', '.join(idle)}: forward "
            f"does not use them, or overwrites them. Their deviations cannot act, so scores on dies and under attack "
            f"say nothing about them."
        )
    if without:
        warn(
            f"module: {', '.join(without)} of {held(network)} act on the outputs, but no gradient comes back to them: "
            f"attacks with gradients leave them as they are, and so does training. Use code that torch can "
            f"differentiate (spikingjelly: SimpleLIFNode), or search without gradients (nr.evaluation.random_search)."
        )
    if changed := changed.difference(idle):
        warn(
            f"module: forward of {held(network)} changes {', '.join(sorted(changed))}. Every pass here begins with the "
            f"values that it is given, deviations included, and what forward writes is dropped."
        )


def _memory(network: Foreign) -> Memory:
    return Memory(network, network.watch)


def _run(network: Foreign, params: Params, x: Tensor) -> Tensor:
    return forward(network, params, x)[0]


# --- random numbers ---


def _seed(seed: int) -> None:
    """Other states of the global generators: a module that draws, and puts them back, gives other outputs."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


class _Draws(TorchDispatchMode):
    """The names of the random operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.names.append(f"torch.{func.overloadpacket.__name__.strip('_')}")
        return func(*args, **(kwargs or {}))


def _check_draws(network: Foreign, x: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse a module that draws from a global generator; the samples that it takes, and its outputs.

    Two passes begin with other states of the generators. A module that seeds them itself ends with one state.
    """
    params, few, recorder, outputs = nominal(network), x[:SAMPLES], _Draws(), []
    ends: list[list[dict[str, bytes]]] = []
    for seed in (1, 2):
        memory = _memory(network)
        _seed(seed)
        network.watch.ends = []
        try:
            with recorder:
                outputs.append(_run(network, params, few))
        except Refused:
            raise
        except Exception:
            if seed == 2 or len(x) <= SAMPLES:
                raise
            few = x[:MOST_SAMPLES]  # a fixed batch size
            outputs.append(_run(network, params, few))
        finally:
            ends.append(network.watch.ends[-1:])
            network.watch.ends = None
    if ends[0] != ends[1]:
        raise draws(network, tuple(recorder.names))
    network.watch.reseeds = frozenset().union(*ends[0])
    if not repeats(*outputs):
        names = tuple(cell.name for cell in memory.changed())
        raise keeps_state(network, names) if names or not recorder.names else draws(network, tuple(recorder.names))
    return few, outputs[0]


# --- state ---


def _check_history(network: Foreign, x: Tensor, drawn: Tensor, memory: Memory, first: bool) -> list[Point]:
    """Refuse a module whose outputs depend on the passes before; the points at which it ran.

    Each point runs first from the memory that the look began with, and then after the passes at other points.
    """
    points, states, sources = [Point(nominal(network), x, drawn)], [], memory.sources()
    turn = itertools.count(3)
    for params, inputs in excited(points[0].params, x, first):
        memory.restore()
        _seed(next(turn))
        try:
            points.append(Point(params, inputs, _run(network, params, inputs)))
        except Refused:
            raise
        except Exception:  # values that the module does not take
            continue
    for k in (0, 2, 1, 3, 0, 1):  # each after another one than before
        if k < len(points):
            before = _memory(network)
            _seed(next(turn))
            outputs = _run(network, points[k].params, points[k].x)
            if not repeats(outputs, points[k].outputs):
                raise keeps_state(network, tuple(cell.name for cell in before.changed()))
            if k == 0:
                states.append([source.state() for source in sources])
    for source, state, later in zip(sources, *states[:2]):
        if not same_state(state, later):
            raise Refused(
                f"module: the random generator {short(source.name)} of {held(network)} goes on from pass to pass, so "
                f"every pass gives other outputs and dies cannot be compared. Seed it at the start of forward."
            )
    return points


def _check_poison(network: Foreign, points: list[Point]) -> None:
    """Refuse a module that reads what an earlier pass left in a plain attribute: other contents, other outputs."""
    before = _memory(network)
    _run(network, points[0].params, points[0].x)
    cells = before.changed()
    if not cells:
        return
    loud = points[min(2, len(points) - 1)]
    for point in {id(point): point for point in (points[0], loud)}.values():
        for variant in range(3):
            here = _memory(network)
            for cell in cells:
                try:
                    cell.put(poisoned(cell.get(), variant))
                except (KeyError, TypeError, ValueError, AttributeError, RuntimeError):
                    continue
            try:
                outputs = _run(network, point.params, point.x)
            except Exception:  # a content that it does not take says nothing
                outputs = point.outputs
            finally:
                here.restore()
            if not repeats(outputs, point.outputs):
                raise keeps_state(network, tuple(cell.name for cell in cells))


# --- other samples, other places, other gradients ---


def _check_neurons(network: Foreign, point: Point) -> None:
    """Refuse numbers that are set once but cannot have one value per neuron: with equal values, outputs are equal."""
    placement = network.placement()
    if not placement.index:
        return
    names = ", ".join(f"{name} {tuple(entries.shape)}" for name, entries in placement.index.items())
    try:
        outputs = _run(network, expand(point.params, placement), point.x)
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"neurons: {held(network)} does not run with one value per neuron, {names}: {str(error).splitlines()[0]} "
            f"Expected shapes that the module can broadcast, such as (n,) for layers of n neurons or (C, 1, 1) for C "
            f"channels, and code that takes tensors in the place of plain floats (spikingjelly: SimpleLIFNode; norse: "
            f"the cells). Leave out the names that it does not take, or give them 1."
        ) from error
    if rows_differ(outputs, point.outputs):
        raise Refused(f"neurons: {held(network)} gives other outputs with equal values for all neurons, {names}.")


def _check_samples(network: Foreign, points: list[Point]) -> None:
    """Refuse a module in which a sample's output depends on the other samples of its batch."""
    for point in points:
        n = len(point.x)
        if n < 2:
            return
        other = torch.cat([points[-1].x, point.x])[torch.arange(n).roll(1)]
        trials = [(torch.arange(n) % 2 == parity)[:n] for parity in (0, 1)]
        for kept in trials:
            mixed = torch.where(kept.to(point.x.device).reshape(-1, *[1] * (point.x.ndim - 1)), point.x, other)
            _compare_samples(network, point, mixed, kept)
        half = n // 2
        _compare_samples(network, point, point.x[:half], torch.ones(half, dtype=torch.bool))
        if _mixes(network, point, trials[0]):
            raise _mixed(network)


def _compare_samples(network: Foreign, point: Point, x: Tensor, kept: Tensor) -> None:
    try:
        outputs = _run(network, point.params, x)
    except Refused:
        raise
    except Exception:  # a fixed batch size, or values that it does not take
        return
    if rows_differ(outputs[kept], point.outputs[: len(x)][kept]):
        raise _mixed(network)


def _mixes(network: Foreign, point: Point, kept: Tensor) -> bool:
    """True if outputs of some samples have a gradient in others, also where a silent neuron hides it."""
    if not point.x.is_floating_point():
        return False
    try:
        with torch.enable_grad():
            x = point.x.detach().clone().requires_grad_()
            outputs = _run(network, point.params, x)
            gradient = torch.autograd.grad(outputs[kept].sum(), x, allow_unused=True)[0]
    except Refused:
        raise
    except Exception:  # no derivative
        return False
    if gradient is None:
        return False
    others = gradient[~kept]  # 0 · NaN where a surrogate overflows
    return bool(((others != 0) & others.isfinite()).any())


def _mixed(network: Foreign) -> Refused:
    return Refused(
        f"module: {held(network)} gives other outputs for a sample when the other samples of its batch are others: a "
        f"norm without running means, a reduction over dimension 0, or a layer that takes the batch for the time. "
        f"Measurements divide the samples into blocks, so each has to go through by itself."
    )


def _check_places(network: Foreign, points: list[Point]) -> None:
    """Refuse a module that holds a parameter in another place too, which a pass does not reach: a list, a view.

    At the same values, a pass that is given the parameters and one whose module really holds them give the same.
    """
    for point in points[1:]:
        with _really(network, point.params), torch.no_grad():
            outputs = _run(network, {}, point.x)
        if rows_differ(outputs, point.outputs):
            raise Refused(
                f"module: {held(network)} uses a parameter past its registered name: through a list, a view or a "
                f"function made in __init__, or it changes it in forward. Deviations would act in part. Read the "
                f"parameter by its name in forward (self.fc.weight)."
            )


def _check_gradient_history(network: Foreign, point: Point, points: list[Point], memory: Memory) -> None:
    """Refuse a module whose gradient depends on the passes before, where its outputs do not: a silent neuron hides the
    state, and its surrogate shows it."""
    found = []
    memory.restore()
    for _ in range(2):
        before = _memory(network)
        found.append(_gradients(network, point) or {})
        with torch.no_grad():
            for other in points:
                _run(network, other.params, other.x)
    size = max((float(value.abs().max()) for value in found[0].values() if value.numel()), default=0.0)
    for name, first in found[0].items():
        gap = (found[1].get(name, first) - first).abs()
        if bool((gap > size * torch.finfo(first.dtype).eps ** 0.5).any()):
            raise keeps_state(network, tuple(cell.name for cell in before.changed()), "gradients")


def _check_gradients(network: Foreign, points: list[Point]) -> None:
    """Refuse a module whose gradient is that of other parameters: it computes something again in the backward pass."""
    point = points[min(1, len(points) - 1)]
    given = _gradients(network, point)
    with _really(network, point.params):
        held_there = _gradients(network, point, own=True)
    if given is None or held_there is None:
        return
    places, masks = dict(network.named_parameters(remove_duplicate=False)), network.masks
    for name, gradient in given.items():
        if not all(places.get(slot) is places[name] for slot in network.slots.get(name, ())):
            continue  # a number that is a buffer there, outside every graph
        other, mask = held_there[name], masks.get(name)
        gradient = gradient if mask is None else gradient * mask  # training leaves out what a hook leaves out
        if rows_differ(gradient.reshape(1, -1), other.reshape(1, -1)):
            raise Refused(
                f"module: the gradient of {name} in {held(network)} is that of other parameters: it computes part of "
                f"its forward pass again in the backward pass (an autograd.Function or a hook that reads self), or "
                f"a hook on the parameter changes its gradient, and not only to keep weights of 0 at 0. Save what the "
                f"backward pass needs with ctx.save_for_backward, and keep a synapse absent with a mask."
            )


def _gradients(
    network: Foreign, point: Point, *, own: bool = False, cut: set[str] | None = None
) -> dict[str, Tensor] | None:
    """∂(sum of outputs with fixed random weights)/∂parameters at a point, or at the network's own parameters; None if
    there is none. ``cut`` takes the names of parameters from which no operation leads to the outputs."""
    leaves: Params = dict(network.named_parameters()) if own else {n: v.clone() for n, v in point.params.items()}
    flags = {name: value.requires_grad for name, value in leaves.items()}
    try:
        for value in leaves.values():
            value.requires_grad_()
        with torch.enable_grad():
            outputs = _run(network, {} if own else leaves, point.x)
            if not outputs.requires_grad:
                return None
            weights = torch.randn(outputs.shape, generator=generator(0, "look"), dtype=torch.float64).to(outputs)
            found = torch.autograd.grad((outputs * weights).sum(), list(leaves.values()), allow_unused=True)
        if cut is not None:
            cut.update(name for name, gradient in zip(leaves, found) if gradient is None)
        return {name: torch.zeros_like(leaves[name]) if g is None else g for name, g in zip(leaves, found)}
    except Refused:
        raise
    except Exception as error:  # no derivative, which a search reports when it needs one
        if "modified by an inplace operation" in str(error):
            raise Refused(
                f"module: {held(network)} writes in place into a tensor that its gradient needs (relu_, copy_, weight "
                f"changes inside a time loop), so torch cannot differentiate it. Make a new tensor instead."
            ) from error
        return None
    finally:
        for name, value in leaves.items():
            value.requires_grad_(flags[name])


@contextmanager
def _really(network: Foreign, params: Params) -> Iterator[None]:
    """The module's own tensors hold these values inside the ``with`` block."""
    memory = _memory(network)
    try:
        for name, value in network.named_parameters():
            value.data.copy_(params[name])
        yield
    finally:
        memory.restore()


# --- parameters that do not act ---


def _idle(network: Foreign, points: list[Point], changed: set[str]) -> tuple[list[str], list[str]]:
    """The parameters whose strong changes leave the outputs at all points as they are, bit for bit; and the numbers
    that act, although no gradient comes back to them."""
    numbers = [n for n, value in points[0].params.items() if kind_of(n) not in DIGITAL and value.numel()]
    names, without = [n for n in network.slots if n in numbers], [n for n in numbers if n not in changed]
    for point in points:
        cut: set[str] = set()
        gradients = _gradients(network, point, cut=cut) or {}
        names = [n for n in names if n in changed or n not in gradients or not bool((gradients[n] != 0).any())]
        without = [n for n in without if gradients and n in cut]
    with torch.no_grad():
        blind = [name for name in without[:MOST_PARAMETERS] if _acts(network, points, [name])]
        if not names or not _acts(network, points, names):
            return names, blind
        return [name for name in names[:MOST_PARAMETERS] if not _acts(network, points, [name])], blind


def _overwritten(network: Foreign, point: Point) -> set[str]:
    """The parameters that the module itself changes or replaces in a pass."""
    memory = _memory(network)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    places = dict(network.named_parameters(remove_duplicate=False))
    try:
        with torch.no_grad():
            _run(network, {}, point.x)
        now = dict(network.named_parameters(remove_duplicate=False))
        return {
            name
            for name, content in before.items()
            if not same(now[name].detach(), content)
            or any(now.get(slot) is not places.get(slot) for slot in network.slots.get(name, ()))
        }
    finally:
        memory.restore()


def _acts(network: Foreign, points: list[Point], names: list[str]) -> bool:
    """True if some change of these parameters changes the outputs at some point."""
    key = generator(0, "does not act")
    for point in points:
        for size in (3.0, 30.0):
            params = point.params | {name: moved(name, point.params[name], size, key) for name in names}
            try:
                if not same(_run(network, params, point.x), point.outputs):
                    return True
            except Exception:  # a value that it does not take: it looks at it
                return True
    return False
