"""The paper's attack: ten steps up the divergence from the clean output."""

from ..attacked import ten_steps

evaluation = ten_steps("kl", "ten steps up the KL divergence, every kind")
