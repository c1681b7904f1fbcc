"""The paper's attack: ten steps up the divergence from the clean output."""

from ..worst_dies import ten_steps

measurement = ten_steps("kl", "ten steps up the KL divergence, every kind")
