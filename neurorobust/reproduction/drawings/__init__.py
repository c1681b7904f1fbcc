"""Figures of the page, one file each: a :class:`~neurorobust.reproduction.drawing.Drawing` in ``drawing``."""
