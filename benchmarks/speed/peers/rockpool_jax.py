"""Rockpool 3.1, JAX: the same layers under ``jax.jit``, and its own ``adversarial_loss``."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.jax import ExpSynJax, LIFJax, LinearJax
from rockpool.training.adversarial_jax import adversarial_loss
from torch import Tensor

from ..tool import CannotError, Run, Tool, decay, unit_gain
from ..workloads import ATTACK_STEPS, BETA, DT, RADIUS, Params, Workload

TAU_SYN = DT / 17  # s: see rockpool.py
REST = float(np.exp(np.float32(-DT / TAU_SYN)))

Tree = dict[str, dict[str, jax.Array]]


def parameters(params: Params) -> Tree:
    """Rockpool's parameters that mean ours."""
    folded = unit_gain(params, DT)
    rest = decay(params["readout.tau_mem"], DT)
    tree = {
        "0_LinearJax": {"weight": folded["hidden.input.weight"].T / REST},
        "1_LIFJax": {
            "w_rec": folded["hidden.recurrent.weight"].T / REST,
            "tau_mem": params["hidden.tau_mem"],
            "threshold": params["hidden.v_threshold"],
        },
        "2_LinearJax": {"weight": folded["readout.input.weight"].T / rest},
        "3_ExpSynJax": {"tau": params["readout.tau_mem"]},
    }
    return {name: {key: jnp.asarray(value.numpy()) for key, value in part.items()} for name, part in tree.items()}


def network(work: Workload) -> Sequential:
    """The workload's layers."""
    n_in, n_hidden, n_out = work.sizes
    key = jax.random.PRNGKey(0)
    hidden = LIFJax(
        n_hidden,
        tau_mem=jnp.full(n_hidden, 0.02),
        tau_syn=TAU_SYN,
        bias=0.0,
        threshold=jnp.ones(n_hidden),
        has_rec=True,
        max_spikes_per_dt=1.0,
        dt=DT,
        rng_key=key,
    )
    return Sequential(
        LinearJax((n_in, n_hidden), has_bias=False),
        hidden,
        LinearJax((n_hidden, n_out), has_bias=False),
        ExpSynJax(n_out, tau=jnp.full(n_out, 0.02), dt=DT, rng_key=key),
    )


def cross_entropy(output: jax.Array, target: jax.Array) -> jax.Array:
    """Of the read-out's mean over time, (B, T, n_out) → scalar."""
    log_p = jax.nn.log_softmax(output.mean(1))
    return -jnp.take_along_axis(log_p, target[:, None], 1).mean()


def divergence(clean: jax.Array, attacked: jax.Array) -> jax.Array:
    """KL of the read-outs' means over time, batch mean."""
    log_p, log_q = jax.nn.log_softmax(clean.mean(1)), jax.nn.log_softmax(attacked.mean(1))
    return (jnp.exp(log_p) * (log_p - log_q)).sum(-1).mean()


class RockpoolJax(Tool):
    """As rockpool. Its adversarial loss takes the same steps on weights, time constants and thresholds, relative to
    each value (τ + ζ·τ, not τ·e^ζ) and without projection."""

    reset = "Subtract"

    def _forward(self, work: Workload) -> Callable[[Tree], jax.Array]:
        if not work.recurrent:
            raise CannotError("only the recurrent network is written for it")
        net, x = network(work), jnp.asarray(work.x.numpy())

        def forward(tree: Tree) -> jax.Array:
            return net.reset_state().set_attributes(tree)(x)[0]

        return forward

    def _logits(self, work: Workload) -> Callable[[Params], Tensor]:
        forward = self._forward(work)
        mean = jax.jit(lambda tree: forward(tree).mean(1))
        return lambda params: torch.from_numpy(np.array(mean(parameters(params))))

    def training_step(self, work: Workload) -> Run:
        forward, y = self._forward(work), jnp.asarray(work.y.numpy())
        gradient = jax.jit(jax.value_and_grad(lambda tree: cross_entropy(forward(tree), y)))
        return self._run(work, gradient)

    def adversarial_step(self, work: Workload) -> Run:
        net = network(work)
        x, y = jnp.asarray(work.x.numpy()), jnp.asarray(work.y.numpy())

        def loss(tree: Tree) -> jax.Array:
            return adversarial_loss(
                tree,
                net,
                x,
                y,
                cross_entropy_of_target,
                divergence,
                jax.random.PRNGKey(0),
                mismatch_level=RADIUS,
                beta_robustness=BETA,
                attack_steps=ATTACK_STEPS,
            )

        return self._run(work, jax.jit(jax.value_and_grad(loss)))

    def _run(self, work: Workload, gradient: Callable[[Tree], object]) -> Run:
        tree, logits = parameters(work.params), self._logits(work)
        return Run(lambda: jax.block_until_ready(gradient(tree)), lambda: logits(work.params))

    def fleet(self, work: Workload) -> Run:
        logits = self._logits(work)

        def run() -> Tensor:
            return torch.stack([logits(die) for die in work.dies])

        return Run(run, run)


def cross_entropy_of_target(target: jax.Array, output: jax.Array) -> jax.Array:
    """:func:`cross_entropy` in the order in which rockpool calls a loss."""
    return cross_entropy(output, target)


tool = RockpoolJax()
