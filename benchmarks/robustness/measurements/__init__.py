"""How networks are judged, one file each: an :class:`~benchmarks.robustness.Measurement` in ``measurement``."""
