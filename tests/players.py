"""NIR files played by the packages that read them: their spikes, step by step."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Their warnings and their prints are theirs."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def need(*packages: str) -> None:
    """Skip the test, by name, where a package is missing."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def graph_at(path: Path) -> Any:
    import nir

    return nir.read(path)


def norse(path: Path, x: Tensor, dt: float) -> Tensor:
    need("nir", "norse")
    from norse.torch.utils.import_nir import from_nir

    return _stepwise(from_nir(graph_at(path), dt=dt), x.float())


def snntorch(path: Path, x: Tensor, dt: float) -> Tensor:
    need("nir", "nirtorch")
    need_nirtorch("2.6", "snntorch")
    from snntorch.import_nir import import_from_nir

    return _stepwise(import_from_nir(graph_at(path)), x.float())


def spikingjelly(path: Path, x: Tensor, dt: float) -> Tensor:
    need("nir", "spikingjelly")
    need_nirtorch("2.6", "spikingjelly")
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepwise(import_from_nir(path, dt=dt, dtype=torch.float64), x.double())


def sinabs(path: Path, x: Tensor, dt: float) -> Tensor:
    need("nir", "sinabs")
    from sinabs.nir import from_nir

    module = from_nir(graph_at(path), batch_size=x.shape[1])
    out = module(x.float().transpose(0, 1).flatten(0, 1))[0]
    return out.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)


def rockpool(path: Path, x: Tensor, dt: float) -> Tensor:
    need("nir", "rockpool")
    found = find_spec("samna")
    places = [] if found is None else list(found.submodule_search_locations or [])
    if places and not any(Path(place).glob("*.so") for place in places):
        pytest.skip("rockpool imports samna, whose stub starts an installation")
    from rockpool.nn.modules.torch.nir import from_nir

    module = from_nir(graph_at(path))
    return module(x.float().transpose(0, 1))[0].transpose(0, 1)


PLAYERS: dict[str, Callable[[Path, Tensor, float], Tensor]] = {
    each.__name__: each for each in (norse, snntorch, spikingjelly, sinabs, rockpool)
}


def play(reader: str, path: Path, x: Tensor, dt: float) -> Tensor:
    """The output of the file in this package, (T, B, n), for an input (T, B, n_in)."""
    with quiet(), torch.no_grad():
        out = PLAYERS[reader](path, x, dt)
    return out.detach().flatten(2).double()


def _stepwise(module: Any, x: Tensor) -> Tensor:
    out, state = [], None
    for step in x:
        y, state = module(step, state)
        out.append(y)
    return torch.stack(out)


def need_nirtorch(least: str, package: str) -> None:
    """Skip the test where nirtorch, and with it nir, is older than the package needs."""
    found = version("nirtorch")
    if tuple(map(int, found.split(".")[:2])) < tuple(map(int, least.split("."))):
        pytest.skip(f"{package} needs nirtorch {least} and nir 1.0.8; nirtorch {found} is installed")
