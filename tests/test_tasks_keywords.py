"""Spoken keywords: features against a float64 definition, speakers that never mix, the cache, and Speech Commands."""

from __future__ import annotations

import subprocess
import time
import wave

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurorobust._util.randomness import generator
from neurorobust.data import synthesis
from neurorobust.data.speech import N_FFT, RATE, coloured_noise, filterbank, log_mel, read_wav
from neurorobust.data.synthesis import Word, digest, spoken
from neurorobust.data.tasks import keywords as make
from neurorobust.data.tasks.keywords import FRACTIONS, SAMPLES, Clips, crops, log_mel_features, mix, script, speakers

WORDS = (Word("en-us+f1", "yes", 175, 50), Word("en-us+whisper", "yes", 175, 50), Word("en-us+f1", "yes", 175, 50))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def key(seed):
    return torch.Generator().manual_seed(seed)


def hertz(mel):
    """The mel scale backwards."""
    return 700 * (10 ** (mel / 2595) - 1)


def test_filters_are_triangles_on_the_mel_scale():
    """Each filter against its definition in Hz at every bin, corners at even mels; they add up to 1 in between."""
    filters = filterbank(40, 20.0, 7600.0).numpy()
    frequency = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    corners = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 42)
    for k in range(40):
        expected = np.interp(2595 * np.log10(1 + frequency / 700), corners[k : k + 3], [0, 1, 0])
        np.testing.assert_allclose(filters[:, k], expected, atol=1e-12)
        assert filters[:, k].max() > 0
    between = (frequency >= hertz(corners[1])) & (frequency <= hertz(corners[-2]))
    np.testing.assert_allclose(filters[between].sum(1), 1, atol=1e-12)


def test_features_equal_their_definition():
    """One window at a time, the Fourier sum written out, in float64; float32 differs by less than 1e-4."""
    clips = 0.1 * torch.randn(2, 480 + 3 * 160 + 159, generator=key(0), dtype=torch.float64)
    n = np.arange(480)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 480)
    wave_ = np.exp(-2j * np.pi * np.outer(np.arange(257), n) / 512)
    expected = np.zeros((2, 4, 40))
    for b in range(2):
        for t in range(4):
            power = np.abs(wave_ @ (hann * clips[b, 160 * t : 160 * t + 480].numpy())) ** 2
            expected[b, t] = np.log(1e-6 + power @ filterbank().numpy())
    np.testing.assert_allclose(log_mel(clips).numpy(), expected, atol=1e-10)
    np.testing.assert_allclose(log_mel(clips.float()).numpy(), expected, atol=1e-4)


def test_a_second_has_98_steps_and_silence_is_the_floor():
    """1 + (16000 − 480)/160 = 98 steps of 40 features; digital silence is log(1e-6) everywhere."""
    x = log_mel(torch.zeros(1, SAMPLES))
    assert x.shape == (1, 98, 40)
    torch.testing.assert_close(x, torch.full_like(x, np.log(1e-6)))


@pytest.mark.parametrize("k", [5, 10, 20, 39])
def test_a_tone_is_loudest_in_its_filter(k):
    """A sine at a filter's centre is loudest in that filter at every step."""
    first, last = 2595 * np.log10(1 + np.array([20, 7600]) / 700)
    frequency = hertz(first + (last - first) * (k + 1) / 41)
    clip = torch.sin(2 * np.pi * frequency * torch.arange(SAMPLES, dtype=torch.float64) / RATE)[None]
    assert (log_mel(clip).argmax(-1) == k).all()


def test_noise_has_its_colour_and_its_size():
    """Root mean square 1; power falls as 1/f^exponent: fitted over 64 clips' octaves to 0.1 (the fit's own standard
    deviation, from the 64·8000 independent powers, is under 0.01: false alarm < 1e-20)."""
    for exponent in (0.0, 1.0, 2.0):
        clips = coloured_noise(64, SAMPLES, torch.full((64,), exponent), key(1)).double()
        torch.testing.assert_close(clips.square().mean(-1), torch.ones(64, dtype=torch.float64), rtol=1e-4, atol=0)
        power = torch.fft.rfft(clips).abs().square().mean(0)
        octaves = [slice(2**k, 2 ** (k + 1)) for k in range(5, 12)]
        level = [power[octave].log().mean().item() for octave in octaves]
        place = [torch.arange(SAMPLES // 2 + 1)[octave].double().log().mean().item() for octave in octaves]
        assert -np.polyfit(place, level, 1)[0] == pytest.approx(exponent, abs=0.1)


def test_mixed_words_keep_their_shape_and_the_agreed_loudness():
    """A clip minus the same clip's noise is the word, somewhere inside, at −32 to −20 dB, 5 to 25 dB over its noise."""
    word = (3000 * np.sin(np.arange(4000) / 7)).astype(np.int16)
    n = 40
    clips = mix([word] * n, key(2)).astype(np.float64) / 32767
    background = mix([np.zeros(0, np.int16)] * n, key(2)).astype(np.float64) / 32767
    starts = set()
    for signal, quiet in zip(clips - background, background, strict=True):
        here = np.flatnonzero(np.abs(signal) > 2 / 32767)
        start = here[0] - np.flatnonzero(np.abs(signal[here[0] :]) > 0)[0]
        starts.add(int(start))
        assert here[-1] - here[0] < 4000
        loudness = np.sqrt((signal**2).sum() / 4000)
        gain = np.sqrt((word.astype(float) ** 2).mean()) / loudness
        correlation = np.correlate(signal, word / gain, "valid").max() / (4000 * loudness**2)
        assert correlation == pytest.approx(1, abs=1e-3)
        assert -32.1 < 20 * np.log10(loudness) < -19.9
        assert 4.9 < 20 * np.log10(loudness / np.sqrt((quiet**2).mean())) < 25.1
    assert len(starts) > n / 2


def test_mixing_is_keyed_by_its_generator():
    """The same generator gives the same bits, whatever the global one holds; another gives others."""
    word = np.arange(1, 1000, dtype=np.int16)
    torch.manual_seed(0)
    one = mix([word] * 3, key(1))
    torch.manual_seed(1)
    assert np.array_equal(one, mix([word] * 3, key(1)))
    assert not np.array_equal(one, mix([word] * 3, key(2)))


def test_a_word_longer_than_the_clip_is_refused():
    """Nothing is cut off a word."""
    with pytest.raises(ValueError, match=r"word 1: got 1\.00 s; expected at most 1 s"):
        mix([np.ones(5, np.int16), np.ones(SAMPLES + 1, np.int16)], key(0))


def test_speakers_never_mix():
    """104 voices, each in one part, families of numbered voices whole, shares within four voices of 70/10/20 %."""
    parts = speakers()
    voices = [voice for part in parts for voice in part]
    assert sorted(voices) == sorted(synthesis.variants()) and len(set(voices)) == len(voices) == 104
    families = [{voice.rstrip("0123456789") for voice in part} for part in parts]
    assert not families[0] & families[1] and not families[0] & families[2] and not families[1] & families[2]
    for part, share in zip(parts, (*FRACTIONS, 0.2), strict=True):
        assert abs(len(part) - share * 104) <= 4


def test_every_speaker_says_as_much_of_every_class():
    """8 × yes, 8 × no, 8 different other words, all by that speaker; the script is always the same."""
    words, y = script(("f1", "m2"), 1)
    assert (words, y) == script(("f1", "m2"), 1) != script(("f1", "m2"), 2)
    for i, voice in enumerate(("f1", "m2")):
        said = words[24 * i : 24 * (i + 1)]
        assert all(word.voice.split("+")[1] == voice for word in said)
        assert [word.text for word in said[:16]] == ["yes"] * 8 + ["no"] * 8
        others = {word.text for word in said[16:]}
        assert len(others) == 8 and not others & {"yes", "no"}
        assert y[24 * i : 24 * (i + 1)] == [0] * 8 + [1] * 8 + [3] * 8


def test_two_processes_speak_alike(monkeypatch, tmp_path):
    """The same list in two fresh processes, a second apart (espeak-ng seeds a whisper with the seconds of the clock
    unless told otherwise), gives the same bits: the cache may stand for the synthesis."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, kept = spoken(WORDS), spoken(WORDS)
    (path,) = (tmp_path / "neurorobust").iterdir()
    path.unlink()
    time.sleep(1.1)
    again = spoken(WORDS)
    assert digest(one) == digest(kept) == digest(again)
    assert all(0.1 * RATE < len(sound) < RATE and np.abs(sound).max() > 1000 for sound in one)


def test_the_cache_is_used_and_mended(monkeypatch, tmp_path):
    """Kept sounds need no second synthesis; changed, cut off or foreign files are made again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = spoken(WORDS)
    (path,) = (tmp_path / "neurorobust").iterdir()
    runs = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: runs.append(1) or real(*a, **k))
    assert digest(spoken(WORDS)) == digest(one) and not runs
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for i, content in enumerate((bytes(changed), whole[: len(whole) // 2], b"", b"PK")):
        path.write_bytes(content)
        assert digest(spoken(WORDS)) == digest(one) and len(runs) == i + 1
        assert digest(spoken(WORDS)) == digest(one) and len(runs) == i + 1
    np.savez(path, samples=np.array([None]), lengths=np.array([1]), digest=np.array(""))
    assert digest(spoken(WORDS)) == digest(one) and len(runs) == 5


def test_without_a_cache_folder_words_are_spoken_anew(monkeypatch, tmp_path):
    """A cache path that cannot be a folder changes nothing in the sounds and leaves nothing behind."""
    one = spoken(WORDS)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert digest(spoken(WORDS)) == digest(one)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failures_of_espeak_are_reported(monkeypatch):
    """A voice that does not exist, and no espeak-ng at all, with the command that installs it."""
    with pytest.raises(RuntimeError, match=r"espeak-ng failed .*no voice 'xx\+none'.*pip install .*espeakng-loader"):
        spoken((Word("xx+none", "yes", 175, 50),))
    monkeypatch.setattr(synthesis.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"not installed; install it with: pip install .*espeakng-loader"):
        make()


@pytest.fixture(scope="module")
def task(cache):
    return make()


def test_the_task_is_balanced_and_standardised(task):
    """3328 clips, as many of each class in each part; training channels have mean 0 and variance 1/40."""
    for data, n in ((task.train, 2336), (task.validation, 320), (task.test, 672)):
        assert data.x.shape == (n, 98, 40) and data.y.bincount().tolist() == [n // 4] * 4
    x = task.train.x.double()
    torch.testing.assert_close(x.mean((0, 1)), torch.zeros(40, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.var((0, 1)), torch.full((40,), 1 / 40, dtype=torch.float64), rtol=1e-3, atol=0)


def test_unseen_speakers_are_classified(task):
    """The nearest class mean of a clip's mean, spread and peak per channel gets over half of unseen voices' test clips
    right (chance .25; a guesser does so with a probability under 1e-40): the labels belong to the sounds."""
    clips = [torch.cat([d.x.mean(1), d.x.std(1), d.x.amax(1)], 1) for d in (task.train, task.test)]
    means = torch.stack([clips[0][task.train.y == label].mean(0) for label in range(4)])
    assert (torch.cdist(clips[1], means).argmin(1) == task.test.y).double().mean() > 0.5


def test_a_network_learns_from_a_few_steps(task):
    """The task's own network and loss: 8 steps of gradient descent on 32 clips lower the loss on them by a tenth."""
    network = task.network(n_hidden=16, seed=0)
    batch = torch.arange(32) * 73
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(9):
        loss = task.loss(network(task.train.x[batch])[0], task.train.y[batch])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def write_wav(path, samples, rate=RATE, channels=1):
    """A 16-bit WAV file."""
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())


def constant(value, n=SAMPLES):
    """A clip that can be recognised by its value."""
    return np.full(n, value)


@pytest.fixture
def commands(tmp_path):
    """Speech Commands in small: a speaker's clip holds word · 100 + speaker; speakers 0–5 train, 6 and 7 validate,
    8 and 9 test. A background sound tells its own time."""
    lists = {"validation": [], "testing": []}
    for w, word in enumerate(("yes", "no", "cat", "dog")):
        for speaker in range(10):
            name = f"{word}/s{speaker}_nohash_0.wav"
            write_wav(tmp_path / name, constant(100 * (w + 1) + speaker, SAMPLES - 10 * speaker))
            if speaker >= 6:
                lists["validation" if speaker < 8 else "testing"].append(name)
    for name, members in lists.items():
        (tmp_path / f"{name}_list.txt").write_text("\n".join(members) + "\n")
    write_wav(tmp_path / "_background_noise_" / "hum.wav", np.arange(12 * SAMPLES) // 10)
    return tmp_path


def test_speech_commands_are_split_by_their_lists(commands):
    """Each clip's content tells where it must be: part by speaker, class by word, silence by time in the noise."""
    from neurorobust.data.tasks.keywords import speech_commands

    parts, content = speech_commands(commands, 0)
    edges = 12 * SAMPLES // 10 * np.array([0, 0.8, 0.9, 1.0])
    for i, (part, who) in enumerate(zip(parts, (range(6), (6, 7), (8, 9)), strict=True)):
        n = len(who)
        assert part.y.tolist() == [0] * n + [1] * n + [3] * n + [2] * n
        first = part.samples[:, 0]
        assert first[:n].tolist() == [100 + s for s in who] and first[n : 2 * n].tolist() == [200 + s for s in who]
        others = first[2 * n : 3 * n].tolist()
        assert len(set(others)) == n and {v % 100 for v in others} <= set(who) and {v // 100 for v in others} <= {3, 4}
        assert (part.samples[:n, -1] == [100 if s == 0 else 0 for s in who]).all()
        silence = part.samples[3 * n :]
        assert silence.min() >= edges[i] and silence.max() <= edges[i + 1]
        assert (np.diff(silence[:, ::10], axis=1) == 1).all()
    again, same = speech_commands(commands, 0)
    assert same == content and np.array_equal(again[0].samples, parts[0].samples)
    assert speech_commands(commands, 1)[1] != content


def test_a_task_from_speech_commands(commands):
    """The same features, standardised on the training part, and the same kind of network."""
    task = make(commands, seed=0)
    assert task.train.x.shape == (24, 98, 40) and task.test.y.bincount().tolist() == [2, 2, 2, 2]
    assert task.network(n_hidden=4, seed=0)(task.test.x)[0].shape == (8, 4)
    assert task.fingerprint != make(commands, seed=1).fingerprint


def test_incomplete_folders_are_refused(commands):
    """No list, no word in a part, no background noise: the message says what belongs there."""
    for path in commands.glob("yes/s[89]*"):
        path.unlink()
    with pytest.raises(ValueError, match="its test part has 0 clips of yes, 2 of no and 4 of other words"):
        make(commands)
    for path in (commands / "_background_noise_").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no background noise is long enough"):
        make(commands)
    (commands / "testing_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"is not complete; expected the unpacked Speech Commands v2"):
        make(commands)


def test_wrong_wav_files_are_refused(tmp_path):
    """Another rate, two channels, cut off, no WAV at all, and a word longer than a second."""
    path = tmp_path / "x.wav"
    write_wav(path, constant(1, 100), rate=8000)
    with pytest.raises(ValueError, match=r"x.wav: got 1 channels of 16 bits at 8000 Hz; expected 1 of 16 bits"):
        read_wav(path)
    write_wav(path, constant(1, 100), channels=2)
    with pytest.raises(ValueError, match="got 2 channels"):
        read_wav(path)
    write_wav(path, constant(1, 100))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="cut off; it holds 75 of 100 samples"):
        read_wav(path)
    for content in (b"", b"no wave file at all, but long enough to look at"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a WAV file, or damaged"):
            read_wav(path)


def test_a_spoken_file_too_long_is_refused(commands):
    """A clip of more than a second is no clip of Speech Commands."""
    write_wav(commands / "yes" / "s0_nohash_0.wav", constant(1, SAMPLES + 1))
    with pytest.raises(ValueError, match=r"s0_nohash_0.wav: got 16001 samples; expected at most 16000"):
        make(commands)


def test_crops_are_drawn_evenly():
    """300 crops of two recordings: each is used 150 ± 52 times (6 σ; false alarm < 1e-8), from its start to its end."""
    sounds = [constant(0, SAMPLES + 9), np.arange(SAMPLES + 9)]
    chosen = crops(sounds, 300, key(0))
    ramps = chosen[chosen[:, -1] > 0]
    assert abs(len(ramps) - 150) <= 52
    assert set(ramps[:, 0].tolist()) == set(range(10))


def test_features_of_clips_do_not_depend_on_their_neighbours():
    """Chunked or alone, a clip has the same features to 1e-5."""
    samples = (1000 * torch.randn(70, SAMPLES, generator=generator(0, "x"))).short().numpy()
    whole = log_mel_features(Clips(samples, torch.zeros(70)))
    torch.testing.assert_close(whole[65:66], log_mel_features(Clips(samples[65:66], torch.zeros(1))), rtol=0, atol=1e-5)
    assert functional.mse_loss(whole[0], whole[1]) > 0.01
