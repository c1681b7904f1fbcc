"""Heart beats, normal or abnormal: every method, tuned here."""

from ...data.tasks import ecg
from ...train.loop import Schedule
from ..study import Study

order = 0
study = Study(
    name="ecg",
    load=ecg,
    methods=(
        "standard",
        "forward_noise",
        "beta",
        "beta_weights",
        "beta_warm",
        "awp",
        "beta_forward",
        "sam",
        "dropout",
        "abcd",
        "entropy_sgd",
        "beta_chip",
        "beta_quantized",
        "beta_whitened",
    ),
    epochs=20,
    schedule=Schedule(batch_size=25, select_every=4),
    chip="dynapse2",
    tuning_epochs=5,
    cut="cut from 80 of the main job; the paper has 40",
)
