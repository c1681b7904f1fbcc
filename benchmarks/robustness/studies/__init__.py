"""The studies, one file each: a :class:`~benchmarks.robustness.Study` in the variable ``study``."""
