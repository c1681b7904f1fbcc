"""Scripts that run other people's simulators, in the environment that `make oracles` builds; JSON in, JSON out.

They import nothing of this package. rockpool is AGPL-3: it is run, nothing of it is copied. samna is not imported.
"""
