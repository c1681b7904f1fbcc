"""The measurements of a network, one file each: a :class:`~benchmarks.robustness.Measurement` in ``measurement``."""
