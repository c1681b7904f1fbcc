"""Calibration of one board from what it answered: nothing of its die is looked at.

One sample that was run is one measurement. :func:`measure` runs them; :func:`trim` and :func:`refit` are functions of
the recordings, so one set of measurements serves both, and recordings of a file do as well as a board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import kernels
from .._util.printed import Printed
from ..chip.design import check_type
from ..circuit import Events
from ..core.run import evaluating, nominal
from ..evaluation.statistics import check_outputs
from ..evaluation.trim import fitted_offsets, matching_offsets
from ..nn import LeakyIntegrator, Linear
from ..nn.decoders import last_step, mean_over_time
from ..nn.fleet_run import SAMPLES, fleet_logits
from ..nn.network import Network
from .board.contract import Session
from .board.host import logits, signals
from .board.network_engine import counts_of
from .board.recording import BoardRecording, listed
from .deployment import Deployment, check_deployment

TIE = 1e-9
"""Errors that differ by a smaller part are equal: then the larger λ is taken."""
PENALTIES = torch.logspace(2, -6, 33, dtype=torch.float64)
"""λ that :func:`refit` tries besides ∞, in squares of the largest singular value of the features."""


@dataclass(frozen=True, eq=False)
class CalibratedHost(Printed):
    """The host's part of a deployment, corrected for one board: logits + offsets + features · changeᵀ.

    Attributes:
        deployment: on the board.
        offsets: added to the logits, (K,), float64.
        change: of the weights of the read-out, (K, N), float64; None after :func:`trim`.
        measurements: samples that were run on the board. labels: those whose labels were used.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     session.program(deployment)
        ...     host = nr.deploy.trim(deployment, nr.deploy.measure(session, (torch.rand(5, 140, 32) < 0.05).float()))
        >>> host.offsets.shape, host.measurements, host.labels
        (torch.Size([2]), 5, 0)
    """

    deployment: Deployment
    offsets: Tensor
    change: Tensor | None
    measurements: int
    labels: int

    def logits(self, recordings: Sequence[BoardRecording]) -> Tensor:
        """The corrected logits of other recordings of the same board, (B, K), float64."""
        found = logits(self.deployment, recordings).double() + self.offsets
        return found if self.change is None else found + _added(features(self.deployment, recordings), self.change)

    def __repr__(self) -> str:
        offsets = ", ".join(f"{value:+.3g}" for value in self.offsets.tolist())
        weights = "" if self.change is None else f", {int((self.change != 0).sum())} weights refitted"
        labels = f"{self.labels} labels" if self.labels else "no labels"
        return f"CalibratedHost(offsets {offsets}{weights}; {self.measurements} measurements, {labels})"


def measure(session: Session, x: Tensor) -> list[BoardRecording]:
    """Run samples of a network's input on a board, each from rest. Each is one measurement.

    Args:
        session: programmed. x: counts of events, (n, T, channels), with all channels of the network, such as
            ``task.validation.x[:50]``.

    Raises:
        TypeError, ValueError: x is no such tensor. Otherwise as :meth:`Session.run_many`.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=17).open() as session:
        ...     session.program(deployment)
        ...     recordings = nr.deploy.measure(session, torch.zeros(2, 140, 32))
        >>> [round(recording.duration, 3) for recording in recordings]  # s
        [0.7, 0.7]
    """
    check_type("session", session, Session, "an open board: board.open()")
    network = session.deployment.native
    return session.run_many(events_of(x, network), x.shape[1] * network.dt)


def events_of(x: object, network: Network) -> list[Events]:
    """The samples of a network's input, (n, T, channels), as events.

    Raises:
        TypeError, ValueError: x is no such tensor, or its values are no counts.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x: got a {type(x).__name__}; expected a tensor (n, T, channels), task.validation.x[:50].")
    if x.ndim != 3 or not x.numel():
        raise ValueError(f"x: got shape {tuple(x.shape)}; expected (n, T, channels), at least one sample.")
    if x.shape[2] != network.n_in:
        raise ValueError(f"x: got {x.shape[2]} channels; the network has {network.n_in}.")
    return [Events.of_steps(sample, network.dt) for sample in x]


def trim(deployment: Deployment, recordings: Sequence[BoardRecording], labels: Tensor | None = None) -> CalibratedHost:
    """One offset for each class, from n measurements: the trim of :class:`neurorobust.Trim`, on a board.

    The network itself, computed on the host on the inputs of the recordings, says what the mean logits should be; see
    :func:`neurorobust.evaluation.matching_offsets`. With labels the offsets minimise a class-balanced cross-entropy,
    held near those; see :func:`neurorobust.evaluation.fitted_offsets`. Test the board on other samples.

    Args:
        recordings: of this deployment on one board, of one duration. labels: of their samples, (n,).

    Raises:
        ValueError, TypeError: no recordings, of another number of neurons or channels, or labels that do not fit them.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     session.program(deployment)
        ...     host = nr.deploy.trim(deployment, nr.deploy.measure(session, (torch.rand(5, 140, 32) < 0.05).float()))
        >>> host.measurements, host.change  # offsets alone
        (5, None)
    """
    recordings = listed(recordings)
    measured = logits(deployment, recordings)
    labels = _checked(labels, measured)
    offsets = trim_offsets(measured, nominal_logits(deployment, recordings), labels)
    return CalibratedHost(deployment, offsets, None, len(recordings), 0 if labels is None else len(labels))


def refit(deployment: Deployment, recordings: Sequence[BoardRecording], labels: Tensor | None = None) -> CalibratedHost:
    """New weights of the read-out, from n measurements: a ridge regression whose prior are the trained weights.

    ::

        D, o = argmin  Σ over samples i and classes k of (z̄_ik − z_ik − φ_ik · D_k − o_k)² + λ ‖D‖²

    z are the logits that the board gives with the trained weights, z̄ those of the network itself on the same inputs,
    and φ_ik the feature of every neuron: the decoded output of read-out k for a synapse of weight 1 from it. The new
    weights are W + D. λ is the one of :data:`PENALTIES` and ∞ with the smallest error of leaving one sample out, in
    closed form; of equal errors the largest λ. λ = ∞ is :func:`trim`. With labels, offsets are fitted to the result as
    in :func:`trim`.

    Args:
        recordings, labels: as of :func:`trim`; at least two recordings.

    Raises:
        ValueError: the host computes something else than one :class:`~neurorobust.nn.LeakyIntegrator` with ``Linear``
            input and a linear decoder. Otherwise as :func:`trim`.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=0).open() as session:
        ...     session.program(deployment)
        ...     host = nr.deploy.refit(deployment, nr.deploy.measure(session, (torch.rand(5, 140, 32) < 0.05).float()))
        >>> host.change.shape  # classes, neurons
        torch.Size([2, 128])
    """
    _readout(check_deployment(deployment))
    recordings = listed(recordings)
    measured = logits(deployment, recordings).double()
    labels = _checked(labels, measured)
    if len(recordings) < 2:
        raise ValueError("recordings: got 1; expected at least two, as each is predicted from the others.")
    known = features(deployment, recordings)
    change, offsets = refit_weights(measured, nominal_logits(deployment, recordings), known, labels)
    return CalibratedHost(deployment, offsets, change, len(recordings), 0 if labels is None else len(labels))


def trim_offsets(measured: Tensor, nominal: Tensor, labels: Tensor | None) -> Tensor:
    """The offsets of :func:`trim` from logits of the board and of the network itself, (n, K) each."""
    offsets = matching_offsets(measured, nominal)
    return offsets if labels is None else fitted_offsets(measured, labels, offsets)


def refit_weights(measured: Tensor, nominal: Tensor, features: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """D (K, N) and o (K,) of :func:`refit`, from logits of the board and of the network itself, (n, K) each, and
    :func:`features`, (K, n, N)."""
    change, offsets = ridge(features, nominal.double() - measured.double())
    if labels is not None:
        offsets = offsets + fitted_offsets(measured.double() + _added(features, change) + offsets, labels)
    return change, offsets


def ridge(features: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """D (K, N) and o (K,) of :func:`refit`; λ by leaving one sample out, the same for all classes. A feature that
    does not vary gets exactly 0.

    Args:
        features: (K, n, N), float64. missing: (n, K), what should be added to the logits.
    """
    n, mean = len(missing), features.mean(1)
    left, sizes, right = torch.linalg.svd(features - mean[:, None], full_matrices=False)
    offset = missing.mean(0)
    target = left.mT @ (missing - offset).T[..., None]  # (K, rank, 1)
    squares = sizes.square()[..., None]
    largest = float(squares.max())
    best, kept = float(((missing - offset) / (1 - 1 / n)).square().sum()), torch.zeros_like(squares)
    for penalty in PENALTIES * largest if largest else ():
        shrunk = squares / (squares + penalty)
        fit = (left @ (shrunk * target))[..., 0].T
        leverage = 1 / n + (left.square() @ shrunk)[..., 0].T
        error = float(((missing - offset - fit) / (1 - leverage)).square().sum())
        if error < best * (1 - TIE):
            best, kept = error, sizes[..., None] / (squares + penalty)
    varies = (features != features[:, :1]).any(1)
    change = torch.where(varies, (right.mT @ (kept * target))[..., 0], 0.0)
    return change, offset - (change * mean).sum(1)


def nominal_logits(deployment: Deployment, recordings: Sequence[BoardRecording]) -> Tensor:
    """The logits of the deployed network itself on the inputs of recordings: computed, not measured."""
    network = deployment.native
    events, duration = [each.events for each in recordings], recordings[0].duration
    x = counts_of(events, duration, network.dt, network.n_in).to(next(network.parameters()))
    with evaluating(network):
        return next(fleet_logits(network, [nominal(network)], x))


@torch.no_grad()
def features(deployment: Deployment, recordings: Sequence[BoardRecording]) -> Tensor:
    """φ of every class, (K, B, N), float64: the decoded output of read-out k for one synapse of weight 1, for each of
    its N inputs; 0 where it has no synapse."""
    layer = _readout(deployment)
    network = deployment.native
    alpha, gain, *_ = layer.coefficients(network.dt)
    filters, which = torch.stack([alpha, gain], 1).unique(dim=0, return_inverse=True)
    parts = []
    for start in range(0, len(recordings), SAMPLES):
        received = signals(deployment, recordings[start : start + SAMPLES])
        x = torch.cat([received[source] for source in network.inputs[network.names[-1]]], -1)
        outputs = [kernels.leaky_integrator(x, *one[:, None].expand(-1, x.shape[-1]).contiguous()) for one in filters]
        parts.append(torch.stack([network.decode(output) for output in outputs]))
    assert isinstance(layer.input, Linear)
    return torch.cat(parts, 1)[which].double() * layer.input.mask[:, None]


def _added(features: Tensor, change: Tensor) -> Tensor:
    """features · changeᵀ, (B, K)."""
    return (features @ change[..., None])[..., 0].T


def _readout(deployment: Deployment) -> LeakyIntegrator:
    """The only layer on the host; raises ValueError unless its decoded output is linear in its weights."""
    network = deployment.native
    host = [name for name in network.names if name not in deployment.cores]
    layer = network.layers()[host[0]] if host else None
    if len(host) != 1 or type(layer) is not LeakyIntegrator or type(layer.input) is not Linear:
        kinds = [f"{name!r} ({type(network.layers()[name]).__name__})" for name in host]
        raise ValueError(
            f"deployment: the host computes {', '.join(kinds) or 'no layer'}; refit expects one LeakyIntegrator with "
            f"Linear input, so use trim."
        )
    if network.decode not in (mean_over_time, last_step):
        decode = getattr(network.decode, "__name__", repr(network.decode))
        raise ValueError(
            f"deployment: its decoder is {decode}; refit expects mean_over_time or last_step, which are linear and "
            f"give one value for each sample, so use trim."
        )
    assert isinstance(layer, LeakyIntegrator)
    return layer


def _checked(labels: Tensor | None, measured: Tensor) -> Tensor | None:
    """The labels as int64, after a check that they fit."""
    if labels is None:
        return None
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        got = str(labels.dtype) if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
        raise TypeError(f"labels: got {got}; expected a tensor of class labels, integers.")
    if labels.ndim == 0 or len(labels) != len(measured):
        raise ValueError(f"labels: got shape {tuple(labels.shape)} for {len(measured)} recordings; expected one each.")
    labels = labels.long()
    if bool((labels < 0).any()):
        raise ValueError(f"labels: got class {int(labels.min())}; expected classes ≥ 0.")
    check_outputs(measured, labels)
    return labels
