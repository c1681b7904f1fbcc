"""Measurements of neurorobust: speed against other libraries (``python -m benchmarks``), and the scripts beside it."""
