"""Descriptions: no secret is written or said, what is harmless is taken, and one list of what an object holds."""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
import types
import warnings
import zipfile
from collections import deque
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from test_same_run import tasks
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust._util import source
from neurorobust._util.description import describe, difference, unknown_part

# ---- secrets

SECRETS = ["", ""]  # two of each test; read by name below


class Net(nn.Module):
    """A layer with one attribute more; ``forward`` may be given."""

    def __init__(self, function=None, **members):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.function = nn.Linear(36, 2), function
        for name, value in members.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x) if self.function else self.fc(x.flatten(1))


def plain(self, x):
    return self.fc(x.flatten(1))


@dataclasses.dataclass
class Options:
    token: str
    more: dict = dataclasses.field(default_factory=dict)


class Slotted:
    __slots__ = ("__hidden", "value")

    def __init__(self, value):
        self.value = self.__hidden = value


class Refuses:
    """Its ``__reduce__`` fails with the secret."""

    def __init__(self, token):
        self.token = token

    def __reduce_ex__(self, protocol):
        raise ValueError(self.token)


class Shown(int):
    """A number that prints a secret."""

    token = ""

    def __repr__(self):
        return self.token


class Named(str):
    pass


def with_default(secret):
    def forward(self, x, token=secret, *, key=secret):
        return plain(self, x)

    return forward


def with_global(secret):
    """A function of a module whose global is the secret."""
    namespace = {"TOKEN": secret, "plain": plain, "__name__": "somebody"}
    exec("def forward(self, x):\n    return plain(self, x) + 0 * len(TOKEN)", namespace)
    return namespace["forward"]


def with_constant(secret):
    namespace = {"plain": plain, "__name__": "somebody"}
    exec(f"def forward(self, x):\n    return plain(self, x) + 0 * len({secret!r})", namespace)
    return namespace["forward"]


def shown(secret):
    return type("Shown", (Shown,), {"token": secret})(3)


HOLDERS = {
    "attribute": lambda s: {"token": s},
    "bytes": lambda s: {"token": s.encode()},
    "bytearray": lambda s: {"token": bytearray(s.encode())},
    "text of a class": lambda s: {"token": Named(s)},
    "numpy text": lambda s: {
        "token": np.str_(s),
        "tokens": np.array([s, "b"]),
        "object": np.array([s, 1], dtype=object),
    },
    "path": lambda s: {"token": Path("/home") / s},
    "value": lambda s: {"options": {"a": s, "b": 1}},
    "key": lambda s: {"options": {s: 1, "b": 2}},
    "deep key": lambda s: {"options": [{("a", s): [{s: {s}}]}]},
    "set": lambda s: {"options": {s, "b"}, "frozen": frozenset([s])},
    "long": lambda s: {
        "options": [s] * 100,
        "table": dict.fromkeys(range(100), s),
        "keys": {s + str(i): i for i in range(99)},
    },
    "deque": lambda s: {"options": deque([s])},
    "slice": lambda s: {"options": slice(s)},
    "named type": lambda s: {"options": np.dtype([(s, "f4")])},
    "dataclass": lambda s: {"options": Options(s, {s: s})},
    "slots": lambda s: {"options": Slotted(s)},
    "namespace": lambda s: {"options": types.SimpleNamespace(token=s)},
    "refuses": lambda s: {"options": Refuses(s)},
    "shown": lambda s: {"options": shown(s)},
    "logger": lambda s: {"log": __import__("logging").getLogger(s)},
    "partial": lambda s: {"function": functools.partial(lambda key, net, x: plain(net, x), s)},
    "closure": lambda s: {"function": lambda self, x: plain(self, x) + 0 * len(s)},
    "default": lambda s: {"function": with_default(s)},
    "global": lambda s: {"function": with_global(s)},
    "constant": lambda s: {"function": with_constant(s)},
    "class": lambda s: {"options": type("Mine", (), {"token": s, "__doc__": s})()},
    "environment": lambda s: {"function": lambda self, x: plain(self, x) + 0 * len(os.environ["SECRET_TOKEN"])},
    "copy of the environment": lambda s: {"options": dict(os.environ)},
    "environment itself": lambda s: {"options": os.environ},
}


class Loss:
    """A loss that holds the same things as a network."""

    def __init__(self, members):
        vars(self).update(members)

    def __call__(self, logits, y):
        return functional.cross_entropy(logits, y)


def leaks(secret, folder):
    """The files that hold a secret, as text, in base64, in hexadecimal or in UTF-16; archives are opened."""
    raw = secret.encode()
    shapes = [raw, raw.hex().encode(), secret.encode("utf-16-le")]
    shapes += [base64.b64encode(b"x" * i + raw)[4:-4] for i in range(3)]
    found = []
    for path in filter(Path.is_file, folder.rglob("*")):
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        found += [path.name for content in contents if any(shape in content for shape in shapes)]
    return found


def write_all(model, loss, folder, turn):
    """Save, load and train; the refusals."""
    for job in (
        lambda: nr.save(model, folder / f"model {turn}"),
        lambda: nr.load(folder / "model 0", into=model),
        lambda: nr.fit(model, tasks(), loss, epochs=1, out=folder / "run"),
        lambda: nr.fit(nr.wrap(Net()), tasks(), loss, epochs=1, out=folder / "run of a plain network"),
    ):
        try:
            job()
        except ValueError as error:
            yield str(error)


@pytest.mark.parametrize("name", HOLDERS)
def test_no_secret_is_written_or_said(name, tmp_path, monkeypatch):
    """A random text in each place: in no file and in no message, also when another text is compared with it."""
    said, secrets = [], [f"s3cr3t{torch.randint(10**12, ()).item():012d}{turn}" for turn in range(2)]
    for turn, secret in enumerate(secrets):
        monkeypatch.setenv("SECRET_TOKEN", secret)
        members = HOLDERS[name](secret)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            said += write_all(nr.wrap(Net(**members)), Loss(members), tmp_path, turn)
        said += [str(warning.message) for warning in caught]
        assert not leaks(secret, tmp_path)
        assert not any(each in text for text in said for each in secrets)
    alike = ("environment", "environment itself", "refuses", "path")
    assert any("there" in text and "here" in text for text in said) or name in alike
    for file in (
        "run/checkpoint.pt",
        "run of a plain network/checkpoint.pt",
        "model 0/config.json",
        "model 1/config.json",
    ):
        assert (tmp_path / file).exists()


def test_the_look_does_not_say_keys():
    """A state under a secret key: the message names the dictionary."""

    def forward(self, x):
        self.states["s3cr3t"] = self.states["s3cr3t"] + 1
        return plain(self, x) * self.states["s3cr3t"]

    model = nr.wrap(Net(forward, states={"s3cr3t": 0.0}))
    with pytest.raises(ValueError, match=r"keeps state between calls \(states") as refused:
        nr.run(model, nr.nominal(model), tasks().test.x)
    assert "s3cr3t" not in str(refused.value)


def test_the_environment_is_unknown_and_the_module_is_not(tmp_path):
    """``os`` may be named; who reads ``os.environ`` cannot be told apart from others."""
    assert not unknown_part(describe(lambda: os.path.join("a", "b")))
    assert "os.environ" in unknown_part(describe(lambda: os.environ.get("A")))
    assert "os.environ" in unknown_part(describe([os.environ]))


# ---- what is harmless, and what is not

MODULE = '''
import torch
from torch import nn

class Net(nn.Module):
    """DOC"""

    note = NOTE
    def __init__(self, place=None):
        "DOC"
        super().__init__()
        self.fc, self.place = nn.Linear(36, 2), place
        self.text = TEXT

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """DOC"""
        # COMMENT
        def inner(a):
            "DOC"
            return a * FACTOR
        return self.fc(inner(x.flatten(1)))

def loss(logits, y):
    """DOC"""
    return nn.functional.cross_entropy(logits, y) + 0 * (lambda a: a.sum())(logits)  # COMMENT
'''
TEXTS = {"DOC": "a", "COMMENT": "a", "NOTE": "1", "TEXT": "'a'", "FACTOR": "1.0"}
counter = itertools.count()


def written(folder, name="theirs", **texts):
    """A module from a file with these words."""
    text = MODULE
    for word, value in (TEXTS | texts).items():
        text = text.replace(word, value)
    path = folder / f"{name}.py"
    path.write_text(text)
    os.utime(path, (next(counter), next(counter)))  # else Python may take the compiled one
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_comments_docstrings_and_lines_do_not_count(tmp_path):
    """Load and resume take them; another number in the code is refused."""
    module = written(tmp_path)
    nr.save(nr.wrap(module.Net()), tmp_path / "model")
    torch.manual_seed(0)
    nr.fit(nr.wrap(module.Net()), tasks(), module.loss, epochs=1, out=tmp_path / "run")
    edited = written(tmp_path, DOC="another doc", COMMENT="another")
    nr.load(tmp_path / "model", into=nr.wrap(edited.Net()))
    torch.manual_seed(0)
    nr.fit(nr.wrap(edited.Net()), tasks(), edited.loss, epochs=1, out=tmp_path / "run")
    for other in ({"FACTOR": "2.0"}, {"NOTE": "2"}, {"TEXT": "'b'"}):
        with pytest.raises(ValueError, match=r"into: .* there, .* here.*`incidental`"):
            nr.load(tmp_path / "model", into=nr.wrap(written(tmp_path, **other).Net()))


def test_a_file_that_was_edited_is_not_the_source_of_what_runs(tmp_path):
    """The code in memory is old, the file is new: the description stands for the code."""
    module = written(tmp_path)
    assert source.code_text(module.loss.__code__).startswith("source #")
    path = Path(module.__file__)
    path.write_text(path.read_text().replace("+ 0 *", "+ 1 *"))
    assert source.code_text(module.loss.__code__).startswith("bytecode of Python 3.")


def test_two_lambdas_of_one_line_differ():
    """Each has its own source; the same lambda elsewhere has the same one."""
    one, two, same = [lambda a: a + 1, lambda a: a + 2, lambda a: a + 1]
    texts = [source.code_text(function.__code__) for function in (one, two, same)]
    assert texts[0] == texts[2] != texts[1] and all(text.startswith("source") for text in texts)


def test_bytecode_does_not_count_docstrings():
    """Without a source: the docstring does not count, the code does."""
    texts = []
    for doc, number in (("a", 1), ("b", 1), ("a", 2)):
        namespace = {}
        exec(f"def f():\n    '{doc}'\n    return [{number} for i in 'x']", namespace)
        texts.append(source.code_text(namespace["f"].__code__))
    assert texts[0] == texts[1] != texts[2] and texts[0].startswith("bytecode of Python 3.")


OTHERS = [found for n in range(11, 16) if n != sys.version_info[1] and (found := shutil.which(f"python3.{n}"))]
PRINT = """
import importlib.util, sys
modules = []
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("m", path)
    modules.append(importlib.util.module_from_spec(spec))
    spec.loader.exec_module(modules[-1])
print([modules[0].code_text(f.__code__) for f in vars(modules[0]).values() if hasattr(f, "__code__")])
"""


@pytest.mark.parametrize("python", OTHERS)
def test_another_python_gives_the_same_texts(python):
    """The functions of a file, described by two versions of Python."""

    def texts(each):
        done = subprocess.run([each, "-c", PRINT, source.__file__], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    if (found := texts(python)) is None:
        pytest.skip("does not run")
    assert found == texts(sys.executable) and found.count("source #") > 5


def test_a_path_says_only_where_something_lies(tmp_path):
    """Another path is taken, with a warning; another text is not."""
    module = written(tmp_path)
    nr.save(nr.wrap(module.Net(PurePosixPath("/a"))), tmp_path / "model")
    nr.load(tmp_path / "model", into=nr.wrap(module.Net(PurePosixPath("/a"))))
    with pytest.warns(UserWarning, match=r"into: _module\.place is another path"):
        nr.load(tmp_path / "model", into=nr.wrap(module.Net(PurePosixPath("/b"))))
    with pytest.raises(ValueError, match=r"into: _module\.place is place #\w+ there, text #\w+ here"):
        nr.load(tmp_path / "model", into=nr.wrap(module.Net("/b")))


def test_what_is_named_incidental_does_not_count(tmp_path):
    """Also if it was named only after saving, as the message advises."""
    nr.save(nr.wrap(written(tmp_path).Net("a")), tmp_path / "model")
    with pytest.raises(ValueError, match=r"_module\.place.* there, .*incidental = "):
        nr.load(tmp_path / "model", into=nr.wrap(written(tmp_path).Net({"b": ["c"]})))
    edited = written(tmp_path, NOTE="1\n    incidental = ('place',)")
    nr.load(tmp_path / "model", into=nr.wrap(edited.Net({"b": ["c"]})))
    nr.save(nr.wrap(edited.Net({"b": ["c"]})), tmp_path / "later")
    nr.load(tmp_path / "later", into=nr.wrap(written(tmp_path).Net("a")))
    assert not difference({"a.text": "text #1"}, {"a.text": "incidental"})
    assert not difference({"a.text": "text #1", "a.text[0].b": "1"}, {"a.text": "incidental"})
    assert difference({"a.texts": "text #1"}, {"a.text": "incidental"})


def test_folders_of_the_first_format(tmp_path):
    """A model loads with a warning, a run is refused in words."""
    network = nr.wrap(Net())
    nr.save(network, tmp_path / "model")
    for edit in (lambda config: config.pop("described"), lambda config: config.update(described=3)):
        config, tensors = nr.io.models._read(tmp_path / "model")
        edit(config)
        config.pop("digest")
        nr.io.models._write(tmp_path / "model", config, tensors)
        with pytest.warns(UserWarning, match="was written by another version"):
            nr.load(tmp_path / "model", into=network)
    nr.fit(network, tasks(), functional.cross_entropy, epochs=1, out=tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    del state["settings"]["described"]
    torch.save(state, path)
    nr._util.digests.append(path)
    with pytest.raises(ValueError, match="was written by another version"):
        nr.fit(network, tasks(), functional.cross_entropy, epochs=1, out=tmp_path / "run")


# ---- tensors that no file holds


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.eye(3).to_sparse(), "mix is a sparse tensor"),
        (torch.eye(3, device="meta"), "mix is a torch.float32 tensor on meta"),
    ],
)
def test_what_no_file_holds_is_not_saved(value, words, tmp_path):
    """One sentence, and no folder is made; not registered for the file, it is compared."""
    for persistent in (True, False):
        module = Net()
        module.register_buffer("mix", value, persistent=persistent)
        if persistent:
            with pytest.raises(ValueError, match=rf"network: _module\.{words}.*persistent=False"):
                nr.save(nr.wrap(module), tmp_path / "model")
            assert not (tmp_path / "model").exists()
        else:
            nr.save(nr.wrap(module), tmp_path / "model")


# ---- one list of what an object holds

COUNTS = {"n": 0}
TOTAL = 0


class Box:
    __slots__ = ("n",)

    def __init__(self):
        self.n = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    box: Box = dataclasses.field(default_factory=Box)


def in_set(self, x):
    self.kept.add(len(self.kept))
    return plain(self, x) * len(self.kept)


def in_slots(self, x):
    self.kept.n += 1
    return plain(self, x) * self.kept.n


def in_frozen(self, x):
    self.kept.box.n += 1
    return plain(self, x) * self.kept.box.n


def in_global(self, x):
    COUNTS["n"] += 1
    return plain(self, x) * COUNTS["n"]


def in_rebound_global(self, x):
    global TOTAL
    TOTAL += 1
    return plain(self, x) * TOTAL


def in_default(self, x, kept=[0]):  # noqa: B006
    kept[0] += 1
    return plain(self, x) * kept[0]


def in_function(self, x):
    in_function.n = getattr(in_function, "n", 0) + 1
    return plain(self, x) * in_function.n


def in_bytes(self, x):
    self.kept[0] = (self.kept[0] + 1) % 200
    return plain(self, x) * self.kept[0]


TRACES = {
    "set": (lambda: Net(in_set, kept={0}), "kept"),
    "slots": (lambda: Net(in_slots, kept=Box()), r"kept\.n"),
    "frozen": (lambda: Net(in_frozen, kept=Frozen()), r"kept\.box\.n"),
    "global": (lambda: Net(in_global), r"globals\[COUNTS\]"),
    "rebound": (lambda: Net(in_rebound_global), "the global TOTAL"),
    "default": (lambda: Net(in_default), r"function\.defaults\[0\]"),
    "function": (lambda: Net(in_function), r"in_function\]?\.n|function\.n"),
    "bytes": (lambda: Net(in_bytes, kept=bytearray(2)), "kept"),
}


@pytest.mark.parametrize("name", TRACES)
def test_the_look_names_where_state_is_kept(name):
    """State in a set, in slots, in a global, in a default: refused by its name, and put back."""
    make, found = TRACES[name]
    module = make()
    model = nr.wrap(module)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"keeps state between calls \(.*{found}.* changed\)"):
            nr.run(model, nr.nominal(model), tasks().test.x)
        kept = getattr(module, "kept", None)
        assert kept is None or kept in ({0}, bytearray(2)) or getattr(getattr(kept, "box", kept), "n", 0) == 0
        assert COUNTS == {"n": 0} and TOTAL == 0 and in_default.__defaults__ == ([0],) and not vars(in_function)


def late_slots(self, x):
    self.kept.n += 1
    return plain(self, x) * (2 if self.kept.n > 1000 else 1)


def late_global(self, x):
    COUNTS["n"] += 1
    return plain(self, x) * (2 if COUNTS["n"] > 1000 else 1)


def late_default(self, x, kept=[0]):  # noqa: B006
    kept[0] += 1
    return plain(self, x) * (2 if kept[0] > 1000 else 1)


@pytest.mark.parametrize("function", [late_slots, late_global, late_default])
def test_state_that_acts_only_later_is_seen(function):
    """A count that acts after a thousand passes: no output of the look shows it, but what it would be does."""
    model = nr.wrap(Net(function, kept=Box()))
    with pytest.raises(ValueError, match="keeps state between calls"):
        nr.run(model, nr.nominal(model), tasks().test.x)
    assert COUNTS == {"n": 0}


def test_traces_of_many_passes_are_looked_for():
    """A table of numbers is taken as it is; too many things are said, and the near ones are seen all the same."""
    table, rows = [0.5] * 100_000, [[i] for i in range(30_000)]
    started = time.perf_counter()
    model = nr.wrap(Net(lambda self, x: plain(self, x) * self.table[3], table=table, names={i: str(i) for i in table}))
    nr.run(model, nr.nominal(model), tasks().test.x)
    assert not unknown_part(describe(model)) and time.perf_counter() - started < 30
    model = nr.wrap(Net(lambda self, x: plain(self, x) * self.rows[1][0], rows=rows))
    with pytest.warns(UserWarning, match=r"holds more than 20000 things that can change, most of them in rows"):
        nr.run(model, nr.nominal(model), tasks().test.x)
    model = nr.wrap(Net(in_slots, rows=rows, kept=Box()))
    with pytest.raises(ValueError, match=r"kept\.n changed"):
        nr.run(model, nr.nominal(model), tasks().test.x)


def test_shared_containers_are_described_once():
    """Fifty containers, each twice in the next: at once; shared or equal makes no difference."""
    nested, objects = [1, "a"], [Options("a")]
    for _ in range(50):
        nested, objects = [nested, nested], {"a": objects, "b": objects}
    started = time.perf_counter()
    assert not unknown_part(describe([nested, objects]))
    assert time.perf_counter() - started < 5
    one = [1, {"a": 2}]
    assert describe([one, one]) == describe([[1, {"a": 2}], [1, {"a": 2}]])
    assert difference(describe([one, one]), describe([one, [1, {"a": 3}]]))


def test_hidden_attributes_count():
    """Slots of a class and of its bases, with mangled names; a tensor's own attributes."""

    class Inner(Slotted):
        __slots__ = ("more",)

    one, two = Inner("a"), Inner("a")
    one.more, two.more = 1, 2
    assert difference(describe(one), describe(two)) == "more is 1 there, 2 here"
    assert "_Slotted__hidden" in describe(Slotted("a"))
    weights = [torch.ones(2), torch.ones(2)]
    weights[0].scale, weights[1].scale = 1.0, 2.0
    assert difference(*map(describe, weights)) == "scale is 1.0 there, 2.0 here"


def draws_elsewhere(n):
    return np.random.rand(n), np.random.mtrand._rand, torch.default_generator


def test_the_generators_of_the_process_belong_to_no_object():
    """A module may hold a function that would draw; only a draw counts, and no state of theirs is described."""
    model = nr.wrap(Net(draw=draws_elsewhere))
    nr.run(model, nr.nominal(model), tasks().test.x)
    before = describe(np.random.rand)
    np.random.rand()
    assert describe(np.random.rand) == before


def test_regular_expressions_are_told_apart():
    """An object whose parts only ``copyreg`` knows."""
    one, two, same = (describe(re.compile(text)) for text in "aba")
    assert difference(one, two) and not difference(one, same)


def test_two_classes_of_one_name_differ():
    """Made in two calls: each is described."""

    def make(number):
        class Local:
            size = number

        return Local

    assert difference(describe([make(1)(), make(2)()]), describe([make(1)(), make(3)()]))
    assert not difference(describe([make(1)(), make(2)()]), describe([make(1)(), make(2)()]))
