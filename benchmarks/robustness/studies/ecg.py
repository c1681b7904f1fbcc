"""Heart beats, normal or abnormal: every method; the methods are tuned on this task. The neurons are the paper's."""

from neurorobust.data.recurrent import adaptive_neurons
from neurorobust.data.tasks import ecg
from neurorobust.train.descent import Schedule

from ..study import Study

order = 0
study = Study(
    name="ecg",
    load=ecg,
    methods=(
        "standard",
        "forward_noise",
        "adversarial",
        "adversarial_weights",
        "adversarial_warm",
        "awp",
        "adversarial_noise",
        "sam",
        "dropout",
        "abcd",
        "entropy_sgd",
        "adversarial_chip",
        "adversarial_quantized",
        "adversarial_whitened",
    ),
    epochs=20,
    schedule=Schedule(batch_size=25, select_every=4),
    chip="dynapse2",
    hidden=adaptive_neurons,
    tuning_epochs=5,
    shipped=("standard", "forward_noise", "adversarial", "adversarial_weights", "awp"),
    cut="cut from 80 of the main job; the paper has 40",
)
