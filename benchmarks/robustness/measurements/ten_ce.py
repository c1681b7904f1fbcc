"""The paper's attack: ten steps up the cross-entropy to the true label."""

from ..worst_dies import ten_steps

measurement = ten_steps("ce", "ten steps up the cross-entropy, every kind")
