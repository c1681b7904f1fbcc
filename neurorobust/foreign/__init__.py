"""Networks that come from elsewhere: any torch module, and snnTorch networks as they are."""

from . import decode
from .snntorch_network import SnnTorchNetwork, from_snntorch, to_snntorch
from .wrapped import Wrapped, wrap

__all__ = ["SnnTorchNetwork", "Wrapped", "decode", "from_snntorch", "to_snntorch", "wrap"]
