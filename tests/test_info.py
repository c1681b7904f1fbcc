"""What info says of the engine."""

from __future__ import annotations

import json

import torch
from demo_run import cli

from neurorobust.kernels.runtime import openmp


def test_info_tells_what_runs_here(monkeypatch):
    """The compiled loops, how many threads and whose; as a table, the same."""
    monkeypatch.delenv("NEUROROBUST_KERNEL", raising=False)
    about = json.loads(cli("info", "--json").out)
    assert about["in use"] == "compiled" and about["asked for"] == "auto"
    assert about["threads"] == torch.get_num_threads() and about["torch"] == torch.__version__
    assert ("torch's OpenMP threads" in about["threading"]) == any(openmp.addresses())
    monkeypatch.setattr(openmp, "addresses", lambda: (0, 0))
    assert "own threads" in json.loads(cli("info", "--json").out)["threading"] and "own threads" in cli("info").out


def test_info_tells_why_nothing_faster_runs(monkeypatch):
    """Forced to plain torch, it says so and what to do; test_engine.py holds what it says without numba."""
    monkeypatch.setenv("NEUROROBUST_KERNEL", "reference")
    about = json.loads(cli("info", "--json").out)
    assert about["in use"] == "reference" and "NEUROROBUST_KERNEL" in about["why"] and "threading" not in about
