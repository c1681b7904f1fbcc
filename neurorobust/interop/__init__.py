"""Networks of other libraries: any torch module, and unmodified snnTorch networks.

Example:
    >>> net = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
    >>> model = nr.from_snntorch(net, dt=1e-3, decode=nr.interop.decode.spike_count)
    >>> nr.run(model, nr.nominal(model), torch.rand(4, 20, 3)).shape
    torch.Size([4, 2])
"""

from typing import TYPE_CHECKING, Any

from . import decode
from .wrapped import Wrapped, wrap

if TYPE_CHECKING:
    from .snntorch_back import to_snntorch
    from .snntorch_network import SnnTorchNetwork, from_snntorch

__all__ = ["SnnTorchNetwork", "Wrapped", "decode", "from_snntorch", "to_snntorch", "wrap"]


def __dir__() -> list[str]:
    """All public names, also those that are imported on first use."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import names that need snnTorch on first use: that import is slow."""
    if name in ("SnnTorchNetwork", "from_snntorch", "to_snntorch"):
        from . import snntorch_back, snntorch_network

        return getattr(snntorch_back if name == "to_snntorch" else snntorch_network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
