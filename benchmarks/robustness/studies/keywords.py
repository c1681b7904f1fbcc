"""Spoken keywords by new speakers: the most important methods, with the settings chosen on heart beats."""

from neurorobust.data.tasks import keywords
from neurorobust.train.descent import Schedule

from ..study import BEST_RIVAL, Budget, Study
from .ecg import study as ecg

order = 1
study = Study(
    name="keywords",
    load=keywords,
    methods=("standard", "forward_noise", "adversarial", "adversarial_weights", BEST_RIVAL),
    epochs=20,
    schedule=Schedule(batch_size=25, select_every=4),
    tuned_on=ecg,
    budget=Budget(balanced=True),
    spec=0.8,
    cut="the paper has 80",
    shipped=("standard", "adversarial"),
)
