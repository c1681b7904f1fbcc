"""Networks on disk, and the trained networks that come with the package."""
