"""A spiking CNN on 10000 images of clothes, which the paper lacks."""

from neurorobust.data.tasks import fashion_mnist_spiking
from neurorobust.train.descent import Schedule

from ..study import Study
from .ecg import study as ecg

order = 2
study = Study(
    name="fashion_mnist_spiking",
    load=fashion_mnist_spiking,
    methods=("standard", "forward_noise", "adversarial"),
    epochs=10,
    schedule=Schedule(batch_size=50, select_every=5),
    tuned_on=ecg,
    shipped=("standard", "forward_noise", "adversarial"),
    spec=0.75,
)
