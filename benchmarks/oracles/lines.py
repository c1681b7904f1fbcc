"""A simulator that is built once and runs on request, in lines of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def serve(build: Callable[[dict[str, Any]], Callable[[], dict[str, float]]]) -> None:
    """Build what the first line of stdin describes, say how long it took, and run it for every further line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    given = json.loads(sys.stdin.readline())
    began = time.perf_counter()
    run = build(given)
    print(json.dumps({"built": time.perf_counter() - began}), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), file=answers, flush=True)


def events_of(given: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sources and steps of the events, for every ``at_once`` samples side by side."""
    sample, channel, step = (np.array(given["events"][part]) for part in ("sample", "channel", "step"))
    part, copy = np.divmod(sample, given["at_once"])
    sources = copy * given["n_in"] + channel
    return [(sources[part == k], step[part == k]) for k in range(given["samples"] // given["at_once"])]
