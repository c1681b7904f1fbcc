"""Spoken keywords: "yes", "no", silence or another word, by speakers who are not in the training data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..._util.randomness import generator as keyed_generator
from ..recurrent import adaptive_neurons, recurrent_network
from ..samples import Data
from ..speech import RATE, coloured_noise, log_mel, read_wav
from ..synthesis import Word, digest, spoken, variants
from ..task import Task

CLASSES = ("yes", "no", "silence", "unknown")
YES, NO, SILENCE, UNKNOWN = range(4)
PARTS = ("train", "validation", "test")
OTHERS = """
    up down left right on off stop go zero one two three four five six seven eight nine
    bed bird cat dog happy house marvin sheila tree wow backward forward follow learn visual
""".split()  # noqa: SIM905 (the list would be 35 lines)
ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
RENDITIONS = 8  # of each class by each speaker
FRACTIONS = (0.7, 0.1)  # of the speakers
CHANNELS = 40
DT = 10e-3
SAMPLES = RATE  # one second
CHUNK = 32
COMMANDS = (
    "the unpacked Speech Commands v2: folders yes, no and other words, folder _background_noise_, validation_list.txt, "
    "testing_list.txt"
)


@dataclass(frozen=True, eq=False)
class Clips:
    """One-second clips at 16 kHz, 16-bit, shape (n, 16000), and their classes (n,)."""

    samples: np.ndarray
    y: Tensor


def speakers() -> tuple[tuple[str, ...], ...]:
    """espeak-ng's voices in three parts. Voices whose names differ only by a final number stay together. Families of
    more than four such voices are in the training part: one of them would fill most of a small part."""
    families: dict[str, list[str]] = {}
    for voice in variants():
        families.setdefault(voice.rstrip("0123456789"), []).append(voice)
    order = np.random.Generator(np.random.Philox(40)).permutation(sorted(families)).tolist()
    order.sort(key=lambda family: len(families[family]) <= 4)
    voices = [voice for family in order for voice in families[family]]
    before = np.cumsum([0, *(len(families[family]) for family in order)])
    bounds = [int(before[np.abs(before - part * len(voices)).argmin()]) for part in np.cumsum(FRACTIONS)]
    return tuple(voices[: bounds[0]]), tuple(voices[bounds[0] : bounds[1]]), tuple(voices[bounds[1] :])


def script(voices: Sequence[str], part: int) -> tuple[tuple[Word, ...], list[int]]:
    """The words of the speakers of a part and their classes; accent, speed and pitch are drawn with a fixed seed."""
    draw = np.random.Generator(np.random.Philox(key=[40, part]))
    words, y = [], []
    for voice in voices:
        others = draw.choice(OTHERS, RENDITIONS, replace=False)
        for label, text in (
            [(YES, "yes")] * RENDITIONS + [(NO, "no")] * RENDITIONS + [(UNKNOWN, str(w)) for w in others]
        ):
            accent = ACCENTS[draw.integers(len(ACCENTS))]
            words.append(Word(f"{accent}+{voice}", text, int(draw.integers(150, 231)), int(draw.integers(30, 71))))
            y.append(label)
    return tuple(words), y


def mix(words: Sequence[np.ndarray], generator: torch.Generator) -> np.ndarray:
    """Each word somewhere in a second of noise; an empty word is silence.

    Words have a root mean square of −32 to −20 dB of full scale, noise is 5 to 25 dB lower (silence has the noise
    of a word at that place), its colour between white and brown.

    Args:
        words: 16-bit samples at 16 kHz, at most one second each.

    Returns:
        16-bit samples, shape (n, 16000).
    """
    n = len(words)
    offset, level, ratio, colour = torch.rand(4, n, generator=generator, dtype=torch.float32).double()
    loudness = 10 ** ((-32 + 12 * level) / 20)
    background = coloured_noise(n, SAMPLES, 2 * colour, generator).double()
    clips = background * (loudness * 10 ** (-(5 + 20 * ratio) / 20))[:, None]
    for i, word in enumerate(words):
        if len(word) > SAMPLES:
            raise ValueError(f"word {i}: got {len(word) / RATE:.2f} s; expected at most {SAMPLES / RATE:g} s.")
        if len(word):
            signal = torch.from_numpy(word.astype(np.float64))
            start = int(offset[i] * (SAMPLES - len(word) + 1))
            clips[i, start : start + len(word)] += signal * (loudness[i] / signal.square().mean().sqrt())
    return (clips * 32767).round().clamp(-32768, 32767).short().numpy()


def synthesised(seed: int) -> tuple[list[Clips], str]:
    """The three parts, spoken by espeak-ng, and a hash of the sounds."""
    scripts = [script(voices, part) for part, voices in enumerate(speakers())]
    sounds = spoken(tuple(word for words, _ in scripts for word in words))
    rest, parts = iter(sounds), []
    for name, (words, labels) in zip(PARTS, scripts, strict=True):
        n_silent = len(words) // 3
        spoken_words = [next(rest) for _ in words] + [np.zeros(0, np.int16)] * n_silent
        generator = keyed_generator(seed, "keywords", name)
        mixed = [mix(spoken_words[i : i + CHUNK], generator) for i in range(0, len(spoken_words), CHUNK)]
        parts.append(Clips(np.concatenate(mixed), torch.tensor(labels + [SILENCE] * n_silent)))
    return parts, digest(sounds)


def speech_commands(folder: Path, seed: int) -> tuple[list[Clips], str]:
    """The three parts of Speech Commands v2, split by its lists (no speaker is in two parts), and a hash of them.

    All of "yes" and "no"; as many clips of other words, and of background noise, as there are of each on average, drawn
    with the seed. Noise files are cut in time, 80/10/10 %, so parts share no noise. Short clips are filled with 0.

    Raises:
        FileNotFoundError, ValueError: not that data set, or a damaged file.
    """
    if not all((folder / name).exists() for name in ("yes", "no", "validation_list.txt", "testing_list.txt")):
        raise FileNotFoundError(f"folder: {str(folder)!r} is not complete; expected {COMMANDS}.")
    lists = [
        set((folder / f"{name}_list.txt").read_text(encoding="utf-8").split()) for name in ("validation", "testing")
    ]
    paths: tuple[dict[str, list[Path]], ...] = ({}, {}, {})
    for path in sorted(folder.glob("[!_]*/*.wav")):
        name = path.relative_to(folder).as_posix()
        part = 1 if name in lists[0] else 2 if name in lists[1] else 0
        paths[part].setdefault(path.parent.name, []).append(path)
    background = [read_wav(path) for path in sorted(folder.glob("_background_noise_/*.wav"))]
    parts = []
    for i, (name, found) in enumerate(zip(PARTS, paths, strict=True)):
        generator = keyed_generator(seed, "speech commands", name)
        yes, no = found.pop("yes", []), found.pop("no", [])
        others = [path for word in sorted(found) for path in found[word]]
        n = (len(yes) + len(no)) // 2
        if not yes or not no or len(others) < n:
            raise ValueError(
                f"folder: its {name} part has {len(yes)} clips of yes, {len(no)} of no and {len(others)} of other "
                f"words; expected {COMMANDS}."
            )
        chosen = [others[k] for k in torch.randperm(len(others), generator=generator)[:n].tolist()]
        bounds = (0.0, 0.8, 0.9, 1.0)[i : i + 2]
        stretches = [sound[int(bounds[0] * len(sound)) : int(bounds[1] * len(sound))] for sound in background]
        silence = crops([sound for sound in stretches if len(sound) >= SAMPLES], n, generator)
        words = np.stack([_filled(path) for path in [*yes, *no, *chosen]])
        labels = [YES] * len(yes) + [NO] * len(no) + [UNKNOWN] * n + [SILENCE] * n
        parts.append(Clips(np.concatenate([words, silence]), torch.tensor(labels)))
    content = hashlib.sha256()
    for clips in parts:
        content.update(clips.samples.tobytes() + clips.y.numpy().tobytes())
    return parts, content.hexdigest()


def crops(sounds: Sequence[np.ndarray], n: int, generator: torch.Generator) -> np.ndarray:
    """n clips of one second from longer recordings, each recording drawn equally often; shape (n, 16000)."""
    if not sounds:
        raise ValueError(f"folder: no background noise is long enough for a second in every part; expected {COMMANDS}.")
    which = torch.randint(len(sounds), (n,), generator=generator).tolist()
    place = torch.rand(n, generator=generator, dtype=torch.float32).double().tolist()
    starts = [int(part * (len(sounds[k]) - SAMPLES + 1)) for k, part in zip(which, place, strict=True)]
    return np.stack([sounds[k][start : start + SAMPLES] for k, start in zip(which, starts, strict=True)])


def _filled(path: Path) -> np.ndarray:
    sound = read_wav(path)
    if len(sound) > SAMPLES:
        raise ValueError(f"{path}: got {len(sound)} samples; expected at most {SAMPLES}, one second.")
    return np.pad(sound, (0, SAMPLES - len(sound)))


def log_mel_features(clips: Clips) -> Tensor:
    """Log-mel features, shape (n, 98, 40)."""

    def chunks() -> Iterator[Tensor]:
        for start in range(0, len(clips.samples), CHUNK):
            yield log_mel(torch.from_numpy(clips.samples[start : start + CHUNK].astype(np.float32) / 32768), CHANNELS)

    return torch.cat(list(chunks()))


def keywords(folder: Path | None = None, *, seed: int = 0) -> Task:
    """Spoken keywords as analog currents: "yes", "no", silence or another word, by unseen speakers?

    By default 104 synthetic voices (espeak-ng), 70/10/20 % of them to train, validate and test, each saying every class
    8 times with other accents, speeds and pitches: 3328 clips of one second, 98 steps of 10 ms, 40 channels. A channel
    is the log power in a mel filter (30 ms windows), standardised on the training part and divided by √40, so unit
    weights give currents of about 1. The currents are signed and analog: a chip that takes only events
    needs an interface that makes them. So the neurons are adaptive ones for every chip, not those of a DPI chip.

    Args:
        folder: holds the unpacked Speech Commands v2, used instead (about 20000 clips, 1 GB of memory).
        seed: of the place of each word, its loudness and its noise; of the choice of clips with a folder.

    Raises:
        FileNotFoundError: espeak-ng is not installed (the message gives the command), or the folder is not complete.
    """
    parts, content = synthesised(seed) if folder is None else speech_commands(Path(folder), seed)
    return task_of(parts, f"{content} {seed}")


def example() -> Task:
    """The task of 24 seconds of noise with tones in it, for the contract tests."""
    tones = [(3e3 * np.sin(2 * np.pi * (300 + 200 * i) * np.arange(4000) / RATE)).astype(np.int16) for i in range(8)]
    y = torch.arange(8) % len(CLASSES)
    return task_of([Clips(mix(tones, keyed_generator(i, "example")), y) for i in range(3)], "example")


def task_of(parts: Sequence[Clips], key: str) -> Task:
    """Three parts as currents; ``key`` identifies their content."""
    xs = [log_mel_features(part) for part in parts]
    mean, std = xs[0].mean((0, 1)), xs[0].std((0, 1))
    train, validation, test = (
        Data((x - mean) / (std * CHANNELS**0.5), part.y) for x, part in zip(xs, parts, strict=True)
    )
    return Task(
        name="keywords",
        classes=CLASSES,
        train=train,
        validation=validation,
        test=test,
        loss=functional.cross_entropy,
        build=partial(recurrent_network, CHANNELS, len(CLASSES), DT, hidden=adaptive_neurons),
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
    )
