"""Speech clips of one second and their log-mel features."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RATE = 16_000  # Hz
WINDOW = 480  # samples, 30 ms
STRIDE = 160  # samples, 10 ms
N_FFT = 512
FLOOR = 1e-6


def mel(frequency: Tensor) -> Tensor:
    """The mel scale, 2595 log₁₀(1 + f/700 Hz)."""
    return 2595 * torch.log10(1 + frequency / 700)


def filterbank(n: int = 40, low: float = 20.0, high: float = 7600.0) -> Tensor:
    """n filters, triangles on the mel scale whose corners lie evenly from low to high (Hz); shape (N_FFT/2 + 1, n).

    Between the first and the last centre the filters add up to 1.
    """
    first, last = mel(torch.tensor([low, high], dtype=torch.float64)).tolist()
    corners = torch.linspace(first, last, n + 2, dtype=torch.float64)
    bins = mel(torch.linspace(0, RATE / 2, N_FFT // 2 + 1, dtype=torch.float64))
    distance = (bins[:, None] - corners[1:-1]).abs() / (corners[1] - corners[0])
    return (1 - distance).clamp_min(0)


def log_mel(clips: Tensor, n: int = 40) -> Tensor:
    """log(1e-6 + power in each mel filter) in Hann windows of 30 ms every 10 ms.

    Args:
        clips: amplitudes in ±1 at 16 kHz, shape (B, samples).

    Returns:
        Shape (B, 1 + (samples − 480) // 160, n).
    """
    frames = clips.unfold(-1, WINDOW, STRIDE) * torch.hann_window(WINDOW, dtype=clips.dtype)
    power = torch.view_as_real(torch.fft.rfft(frames, N_FFT)).square().sum(-1)
    return torch.log(FLOOR + power @ filterbank(n).to(clips.dtype))


def coloured_noise(n: int, samples: int, exponent: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of root mean square 1 whose power falls as 1/f^exponent (0 white, 1 pink, 2 brown), shape (n, samples)."""
    spectrum = torch.fft.rfft(torch.randn(n, samples, generator=generator, dtype=torch.float32))
    frequency = torch.arange(spectrum.shape[-1]).clamp_min(1)
    spectrum = spectrum * frequency ** (-exponent[:, None] / 2)
    spectrum[:, 0] = 0
    result = torch.fft.irfft(spectrum, samples)
    return result / result.square().mean(-1, keepdim=True).sqrt()


def read_wav(path: Path) -> np.ndarray:
    """The samples of a WAV file, 16-bit, one channel, 16 kHz.

    Raises:
        ValueError: another format, or a damaged file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            found = file.getnchannels(), file.getsampwidth(), file.getframerate()
            n = file.getnframes()
            content = file.readframes(min(n, path.stat().st_size))
    except (wave.Error, EOFError, RuntimeError, OverflowError, struct.error) as error:  # the last three: other damage
        raise ValueError(f"{path}: not a WAV file, or damaged ({error or 'it ends early'}).") from error
    if found != (1, 2, RATE):
        raise ValueError(
            f"{path}: got {found[0]} channels of {8 * found[1]} bits at {found[2]} Hz; expected 1 of 16 bits at "
            f"{RATE} Hz."
        )
    if len(content) != 2 * n:
        raise ValueError(f"{path}: the file is cut off; it holds {len(content) // 2} of {n} samples.")
    return np.frombuffer(content, "<i2")
