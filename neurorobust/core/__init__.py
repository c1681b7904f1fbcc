"""Parameters and their kinds, placement, deviations and their application, and the run of a network."""
