"""The causes of a gap between training and circuit. A new cause is one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ...core.equations import UNKNOWN
from ..board import CircuitEngine, Engine
from ..deployment import Deployment, check_deployment
from ..errors import DeploymentError
from .equations_engine import EquationsEngine

Cause = Callable[[Deployment, Engine], Engine | str]
"""(deployment, the engine with all causes before) → the engine with this one, too; or words: why there is nothing to
put in, or why it cannot be computed. Its name and the first line of its docstring are shown."""
_C = TypeVar("_C", bound=Callable[..., Any])
SUBSTEPS = 20


def on_top_of(*causes: Cause) -> Callable[[_C], _C]:
    """A decorator: alone, a cause is switched on after these others, and compared with them."""

    def marked(cause: _C) -> _C:
        cause.needs = causes  # type: ignore[attr-defined]
        return cause

    return marked


def floor(deployment: Deployment, engine: Engine) -> Engine | str:
    """A membrane below rest is set to rest.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")  # LinearizedDpi neurons
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> nr.deploy.causes.floor(deployment, nr.deploy.EquationsEngine())
        'the network has it already: floor at rest'
    """
    return _put_in(deployment, engine, "floor", "floor at rest", floor=True)


def reset(deployment: Deployment, engine: Engine) -> Engine | str:
    """A spike sets the membrane to rest, and the refractory time holds it there.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg/forward_noise")  # AdaptiveLif neurons
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> nr.deploy.causes.reset(deployment, nr.deploy.EquationsEngine())
        EquationsEngine(floor=False, reset=True, tau_syn=None, substeps=1, waits=True)
    """
    return _put_in(deployment, engine, "reset", "reset to rest", reset=True)


def synapse(deployment: Deployment, engine: Engine, tau_syn: float | None = None) -> Engine | str:
    """An event becomes a current that decays with tau_syn (dt, if none is given) and carries the same charge.

    Raises:
        TypeError: no deployment.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg/forward_noise")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> nr.deploy.causes.synapse(deployment, nr.deploy.EquationsEngine(), tau_syn=5e-3)
        EquationsEngine(floor=False, reset=False, tau_syn=0.005, substeps=1, waits=True)
    """
    tau = check_deployment(deployment).native.dt if tau_syn is None else tau_syn
    return _put_in(deployment, engine, "synapse", "one synaptic current", tau_syn=tau)


def continuous_time(deployment: Deployment, engine: Engine) -> Engine | str:
    """Steps of dt/20. Spikes still reach other neurons with the steps of dt.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> nr.deploy.causes.continuous_time(deployment, nr.deploy.EquationsEngine()).substeps
        20
    """
    return _clocked(deployment) or _changed(deployment, engine, substeps=SUBSTEPS)


@on_top_of(continuous_time)
def delay(deployment: Deployment, engine: Engine) -> Engine | str:
    """A spike reaches other neurons at once, not with the next step of dt.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> nr.deploy.causes.delay(deployment, nr.deploy.EquationsEngine(substeps=20)).waits
        False
    """
    if clocked := _clocked(deployment):
        return clocked
    if isinstance(engine, EquationsEngine) and engine.substeps == 1:
        return "a spike cannot arrive sooner than one step later; put in continuous_time before"
    return _changed(deployment, engine, waits=False)


def circuit(deployment: Deployment, engine: Engine) -> Engine | str:
    """The circuit of the image, with all that the equations leave out.

    Raises:
        TypeError: no deployment.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> type(nr.deploy.causes.circuit(deployment, nr.deploy.EquationsEngine())).__name__
        'CircuitEngine'
    """
    check_deployment(deployment)
    found = CircuitEngine()
    (die,) = deployment.chip.fabricate([0], 1)
    try:
        found.configure(deployment, die)
    except DeploymentError as error:
        return str(error.violations[0])
    except (TypeError, ValueError) as error:
        return str(error).rstrip(".")
    return found


CAUSES: tuple[Cause, ...] = (floor, reset, synapse, continuous_time, delay, circuit)
"""In order. Training's equations cannot have a delay below their step, so delay comes after the small steps."""


def _put_in(deployment: Deployment, engine: Engine, point: str, word: str, **changes: Any) -> Engine | str:
    """The engine with one of the chip's equations, where the chip is known to have it and the network has it not."""
    chip = check_deployment(deployment).chip
    if chip.neuron is None:
        return f"{chip.name} states no equations"
    if chip.neuron.as_network:
        return f"{chip.name} has no neurons of its own; they are computed as in training"
    words = getattr(chip.neuron, point).words
    if not words:
        return f"unknown for {chip.name}"
    layers = deployment.native.layers()
    own = [layers[name].equations().words()[point] for name in deployment.cores]
    if UNKNOWN not in own and all(each in words for each in own):
        return f"the network has it already: {', '.join(dict.fromkeys(own))}"
    if word not in words:
        return f"not computed: {chip.name} has {', or '.join(words)}"
    return _changed(deployment, engine, **changes)


def _clocked(deployment: Deployment) -> str:
    """Words for a chip that has the network's own steps; empty for others."""
    chip = check_deployment(deployment).chip
    if chip.neuron is None:
        return f"{chip.name} states no equations"
    return "" if chip.neuron.time_base.text.startswith("Continuous") else f"{chip.name} is clocked, as the network is"


def _changed(deployment: Deployment, engine: Engine, **changes: Any) -> Engine | str:
    if not isinstance(engine, EquationsEngine):
        return f"not computed: it cannot be put into {engine}"
    changed = replace(engine, **changes)
    (die,) = deployment.chip.fabricate([0], 1)
    try:
        changed.configure(deployment, die)
    except ValueError as error:
        return f"not computed: {str(error).rstrip('.')}"
    return changed
