"""Threads and memory of the compiled loops."""
