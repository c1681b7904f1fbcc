"""The paper's attack: ten ascent steps on the divergence from the clean output."""

from ..worst_dies import ten_steps

measurement = ten_steps("kl", "ten attack steps on the KL divergence, every kind")
