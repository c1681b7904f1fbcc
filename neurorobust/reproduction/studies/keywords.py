"""Spoken keywords by speakers never heard: the methods that matter, with the settings chosen on heart beats."""

from ...data.tasks import keywords
from ...train.loop import Schedule
from ..study import BEST_RIVAL, Detail, Study
from .ecg import study as ecg

order = 1
study = Study(
    name="keywords",
    load=keywords,
    methods=("standard", "forward_noise", "beta", "beta_weights", BEST_RIVAL),
    epochs=20,
    schedule=Schedule(batch_size=25, select_every=4),
    tuned_on=ecg,
    detail=Detail(balanced=True),
    spec=0.8,
    cut="the paper has 80",
    shipped=("standard", "forward_noise", "beta"),
)
