"""How networks are judged, one file each: a :class:`~benchmarks.robustness.Measurement` in ``measurement``."""
