"""Adaptations: the effect of a neuron's past spikes on its membrane or threshold, one file each."""

from .adaptive_threshold import AdaptiveThreshold
from .ahp import Ahp
from .base import Adaptation

__all__ = ["Adaptation", "AdaptiveThreshold", "Ahp"]
