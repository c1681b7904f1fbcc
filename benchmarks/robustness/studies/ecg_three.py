"""Heart beats of three classes, 80/10/10: every method, with the settings that tuning chose on two classes."""

from dataclasses import replace

from neurorobust.data.tasks import ecg_three

from ..study import Budget
from .ecg import study as ecg

order = 3
study = replace(
    ecg,
    name="ecg_three",
    load=ecg_three,
    epochs=10,
    tuned_on=ecg,
    budget=Budget(samples=500, attacked=120, balanced=True),
    spec=0.7,
    cut="half of those on two classes; 120 beats attacked",
    shipped=(),
)
