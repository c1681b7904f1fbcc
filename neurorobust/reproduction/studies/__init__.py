"""What is reproduced, one file each: a :class:`~neurorobust.reproduction.Study` in the variable ``study``."""
