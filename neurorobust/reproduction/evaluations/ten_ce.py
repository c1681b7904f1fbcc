"""The paper's attack: ten steps up the cross-entropy to the true label."""

from ..attacked import ten_steps

evaluation = ten_steps("ce", "ten steps up the cross-entropy, every kind")
