"""Scripts that are copied beside exported data, and need no part of this package."""
