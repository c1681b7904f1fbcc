"""Speech synthesis of a list of words with espeak-ng: a separate program, which synthesis.py runs in a new process.

espeak-ng keeps state from word to word: a word sounds the same only after the same words in a new process. By default
it seeds its breath noise with the clock.

    python espeak.py LIBRARY DATA < words.json > sounds

Words are a list of [voice, text, words per minute, pitch 0–100]. The output is the sample rate, 32 bits, and for each
word its number of samples, 32 bits, and 16-bit samples; all little-endian.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from collections.abc import Iterable, Iterator

SYNCHRONOUS, UTF8, CHARACTERS, RATE, PITCH = 2, 1, 1, 1, 3  # espeak-ng/speak_lib.h


def speak(library: str, data: str, words: Iterable[tuple[str, str, int, int]]) -> Iterator[bytes]:
    """The sample rate, then one recording per word, each after its length."""
    espeak = ctypes.CDLL(library)
    pieces: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def keep(samples: int | None, n: int, _: int | None) -> int:
        if samples and n > 0:
            pieces.append(ctypes.string_at(samples, 2 * n))
        return 0

    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
    if rate <= 0:
        raise RuntimeError(f"espeak-ng cannot start with {data!r}")
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(1))
    espeak.espeak_SetSynthCallback(keep)
    yield struct.pack("<i", rate)
    for voice, text, speed, pitch in words:
        if espeak.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        espeak.espeak_SetParameter(RATE, speed, 0)
        espeak.espeak_SetParameter(PITCH, pitch, 0)
        pieces.clear()
        spoken = text.encode() + b"\0"
        if espeak.espeak_Synth(spoken, len(spoken), 0, CHARACTERS, 0, UTF8, None, None):
            raise RuntimeError(f"espeak-ng cannot speak {text!r}")
        sound = b"".join(pieces)
        yield struct.pack("<i", len(sound) // 2) + sound


if __name__ == "__main__":
    for part in speak(sys.argv[1], sys.argv[2], json.load(sys.stdin)):
        sys.stdout.buffer.write(part)
