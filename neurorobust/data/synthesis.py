"""Spoken words from espeak-ng: synthesised once, in a separate process, then read from a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._util import files

INSTALL = "pip install --no-deps espeakng-loader==0.2.4"
RATE = 16_000
FORMAT = 1


class Word(NamedTuple):
    """A word to speak.

    Attributes:
        voice: accent and variant, as ``en-us+linda``. text: the word. speed: words per minute. pitch: 0–100.
    """

    voice: str
    text: str
    speed: int
    pitch: int


def variants() -> tuple[str, ...]:
    """Names of espeak-ng's voice variants, its speakers, sorted.

    Raises:
        FileNotFoundError: espeakng-loader is not installed; the message gives the command that installs it.
    """
    return tuple(sorted(path.name for path in (_package() / "espeak-ng-data" / "voices" / "!v").iterdir()))


def spoken(words: tuple[Word, ...]) -> list[np.ndarray]:
    """Each word at 16 kHz, 16-bit, one array per word; equal lists of words give equal arrays.

    The sounds are kept in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``, then ``neurorobust``) with
    their hash. Missing or damaged sounds are made again. If that folder is not writable, they are made at each call.

    Raises:
        FileNotFoundError: espeakng-loader is not installed. RuntimeError: espeak-ng failed.
    """
    recipe = json.dumps([FORMAT, _hash_of(_package()), words])
    name = f"words-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npz"
    try:
        folder = files.make_folder(_cache_home() / "neurorobust")
    except (OSError, RuntimeError):
        return _synthesise(words)
    kept = _read(folder / name)
    if kept is not None and len(kept) == len(words):
        return kept
    sounds = _synthesise(words)
    with suppress(OSError):  # a full disk
        _write(folder / name, sounds)
    return sounds


def _package() -> Path:
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"keywords are spoken by espeak-ng, which is not installed; install it with: {INSTALL}")
    return Path(spec.origin).parent


@cache
def _hash_of(package: Path) -> str:
    """A hash of the library, its sounds and its English data: versions of espeak-ng differ in their speech."""
    data = package / "espeak-ng-data"
    parts = [*sorted(package.glob("*espeak-ng.*")), *sorted(data.glob("phon*")), data / "en_dict"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts if path.is_file())).hexdigest()


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _synthesise(words: tuple[Word, ...]) -> list[np.ndarray]:
    from scipy.signal import firwin, resample_poly  # slow to import

    package = _package()
    (library,) = [path for path in package.iterdir() if path.stem.endswith("espeak-ng") and path.is_file()]
    script = Path(__file__).with_name("espeak.py")
    result = subprocess.run(
        [sys.executable, "-P", str(script), str(library), str(package / "espeak-ng-data")],
        input=json.dumps(words).encode(),
        capture_output=True,
        check=False,
    )
    if result.returncode:
        last = (result.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"espeak-ng failed ({result.returncode}: {last}); reinstall it with: {INSTALL}")
    rate, position = int.from_bytes(result.stdout[:4], "little"), 4
    up, down = RATE // gcd(RATE, rate), rate // gcd(RATE, rate)
    lowpass = firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0))
    sounds = []
    for word in words:
        n = int.from_bytes(result.stdout[position : position + 4], "little")
        sound = np.frombuffer(result.stdout, "<i2", n, position + 4).astype(np.float64)
        if not sound.any():
            raise RuntimeError(f"espeak-ng was silent on {word}; reinstall it with: {INSTALL}")
        resampled = resample_poly(sound, up, down, window=lowpass)
        sounds.append(np.clip(np.round(resampled), -32768, 32767).astype(np.int16))
        position += 4 + 2 * n
    return sounds


def digest(sounds: list[np.ndarray]) -> str:
    """A hash of recordings and their lengths."""
    lengths = np.array([len(sound) for sound in sounds], dtype="<i8")
    return hashlib.sha256(lengths.tobytes() + b"".join(sound.astype("<i2").tobytes() for sound in sounds)).hexdigest()


def _write(path: Path, sounds: list[np.ndarray]) -> None:
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            samples=np.concatenate(sounds),
            lengths=np.array([len(sound) for sound in sounds]),
            digest=np.array(digest(sounds)),
        )


def _read(path: Path) -> list[np.ndarray] | None:
    """The sounds of a cache file, or None if it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            sounds = np.split(kept["samples"], np.cumsum(kept["lengths"])[:-1])
            return sounds if digest(sounds) == str(kept["digest"]) else None
    except Exception:  # zipfile and numpy raise many kinds
        return None
