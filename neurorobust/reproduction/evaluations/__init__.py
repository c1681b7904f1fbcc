"""How networks are judged, one file each: an :class:`~neurorobust.reproduction.Evaluation` in ``evaluation``."""
