"""Networks on disk and the trained networks of the package."""
