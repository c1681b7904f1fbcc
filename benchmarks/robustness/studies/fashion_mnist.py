"""The paper's CNN on 20000 images of clothes: the most important methods, with the settings chosen on heart beats."""

from dataclasses import replace

from neurorobust.data import Task
from neurorobust.data.tasks import fashion_mnist
from neurorobust.train.descent import Schedule

from ..study import BEST_RIVAL, Budget, Study
from .ecg import study as ecg

order = 2


def load() -> Task:
    """The task with 20000 training images, and 1000 for the choice of the epoch: attacks on 6000 take too long."""
    task = fashion_mnist(n_train=20_000)
    return replace(task, validation=task.validation.first(1000))


study = Study(
    name="fashion_mnist",
    load=load,
    methods=("standard", "forward_noise", "adversarial", "adversarial_weights", BEST_RIVAL),
    epochs=3,
    schedule=Schedule(learning_rate=1e-3, batch_size=100, select_every=3),
    tuned_on=ecg,
    budget=Budget(samples=400, attacked=100),
    spec=0.8,
    cut="on 20000 of its 60000 images; 100 samples attacked",
)
