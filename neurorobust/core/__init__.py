"""Parameters and their kinds, placement, deviations and the one function that applies them, and how a network runs."""
