"""Figures of the pages, one file each: a :class:`~benchmarks.robustness.page_figure.PageFigure` in ``page_figure``."""
