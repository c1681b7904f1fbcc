"""One run of training: everything that acts on it, and the comparison with a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._util.description import FORMAT, Description, describe, difference, moved, tensor_digest, unknown_part
from .._util.warn import warn
from ..data import Task
from ..kernels.choice import chosen
from ..regularizers import Regularizer


@dataclass(frozen=True, eq=False)
class OneRun:
    """Everything that acts on a run besides the schedule, described at its start.

    Attributes:
        acts: descriptions by part: the loss, the network, the samples, torch's settings.
    """

    acts: dict[str, Description]

    @classmethod
    def of(cls, network: nn.Module, task: Task, loss: Regularizer) -> OneRun:
        """The run of a network at its present state; it warns where no later run could be known as the same."""
        run = cls(
            {"network": describe(network), "loss": _loss(network, loss), "data": _samples(task), "torch": _torch()}
        )
        for part, description in run.acts.items():
            if problem := unknown_part(description):
                warn(
                    f"{part}: it cannot be told apart from others ({problem}), so the run in out cannot be resumed; "
                    f"pass a {part} without it."
                )
        return run

    def stored(self, network: nn.Module, loss: Regularizer) -> dict[str, Any]:
        """Entries of a checkpoint: the run, and whether the loss has changed itself since its start."""
        now = difference(self.acts["loss"], _loss(network, loss)) if not unknown_part(self.acts["loss"]) else ""
        return {"acts": self.acts, "described": FORMAT, "loss changed": now}


def check_same(path: Path, found: Mapping[str, Any], settings: dict, run: OneRun, *, finished: bool) -> None:
    """Raise ValueError unless a checkpoint is of this run and can be continued.

    Args:
        path: for the message. found: the settings there, with the entries of :meth:`OneRun.stored`.
        settings, run: those here. finished: whether no epoch is left.
    """
    if "acts" not in found or found.get("described") != FORMAT:
        raise ValueError(
            f"out: {path} was written by another version, which recorded what acts on a run in another way; remove it "
            f"or choose another folder."
        )
    different = [
        f"{key} {found.get(key)!r} there, {settings[key]!r} here" for key in settings if found.get(key) != settings[key]
    ]
    for part, description in run.acts.items():
        if problem := difference(found["acts"].get(part, {}), description):
            different.append(f"{part}: {problem}")
    if different:
        raise ValueError(
            f"out: {path} belongs to another run ({'; '.join(different)}); remove it or choose another folder. If an "
            f"attribute of your class does not act, name it in the class attribute `incidental`."
        )
    for part, description in run.acts.items():
        if place := moved(found["acts"][part], description):
            warn(
                f"{part}: {place} is another path than in {path}; a path only says where something lies, so "
                f"this is taken, and what lies there was not compared."
            )
    if found["loss changed"] and not finished:
        raise ValueError(
            f"out: {path} cannot be continued: the loss changed itself in that run ({found['loss changed']}), and a "
            f"checkpoint does not keep this. Remove it or choose another folder; a Regularizer can keep tensors in "
            f"`carried`."
        )


def _loss(network: nn.Module, loss: Regularizer) -> Description:
    """The loss; parts of the network inside it, which training changes, are given by their names."""
    named = [*network.named_modules(prefix="network"), *network.named_parameters(prefix="network")]
    return describe(loss, dict(named) | dict(network.named_buffers(prefix="network")))


def _samples(task: Task) -> Description:
    """The samples and labels of the two parts that training uses, in their order."""
    return {
        f"{part}.{key}": f"{dtype} {shape} #{tensor_digest(*pieces)}"
        for part in ("train", "validation")
        for key, (shape, dtype, pieces) in getattr(task, part).tensors().items()
    }


def _torch() -> Description:
    """Settings of torch, and of the loops over time, that change results."""
    return {
        "default dtype": str(torch.get_default_dtype()),
        "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "matmul precision": torch.get_float32_matmul_precision(),
        "autocast": str(torch.is_autocast_enabled("cpu")),
        "kernel": chosen(),
    }
