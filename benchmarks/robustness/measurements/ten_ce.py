"""The paper's attack: ten ascent steps on the cross-entropy with the true label."""

from ..worst_dies import ten_steps

measurement = ten_steps("ce", "ten attack steps on the cross-entropy, every kind")
