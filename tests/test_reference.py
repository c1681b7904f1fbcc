"""The reference: every entry has an example, says what it raises and which shapes it takes, and shows what it needs."""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import re
import textwrap
from typing import Any

import pytest
from pages import ROOT

DOCS = ROOT / "docs"
GIVEN = {"torch", "nn", "snntorch", "nr"}  # imported for every example, as docs/api/index says
LINES = 8  # of input in an example, imports among them
NO_EXAMPLE = {  # and why
    "neurorobust.data.tasks.keywords": "needs voices that are not installed with the package",
    "neurorobust.data.tasks.fashion_mnist": "needs images that are not installed with the package",
    "neurorobust.data.tasks.fashion_mnist_spiking": "needs images that are not installed with the package",
}
ARRAYS = re.compile(r"\b(Tensor|ndarray|NDArray|Array|Floats|Integers|Values)\b")
SHAPE = re.compile(r"\bshapes?\b|\((?:[\w…·′ ]+,)+ ?[\w…·′ ]*\)|broadcast|one (?:per|for each) ")
RAISES = re.compile(r"\braise \w+|\b_?check\w*\(|\b_positive\(")


@pytest.fixture
def entries(monkeypatch) -> dict[str, Any]:
    """Every class and function of the reference, by the name under which it is described."""
    monkeypatch.syspath_prepend(str(DOCS))
    public, generate = importlib.import_module("public"), importlib.import_module("generate")
    return dict(public.entries([part for part in generate.parts() if part not in generate.OWN_PAGE]))


def examples(value: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(value.__doc__ or "")


def functions_of(value: Any) -> list[Any]:
    """What runs when the entry is called: the function, or the class's own constructor."""
    if inspect.isfunction(value):
        return [inspect.unwrap(value)]
    return [found for name in ("__init__", "__post_init__") if inspect.isfunction(found := vars(value).get(name))]


def code_of(function: Any) -> str:
    """The code of a function without its docstring; nothing for one that a dataclass made."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:
        return ""
    body = tree.body[0].body  # type: ignore[attr-defined]
    return "\n".join(ast.unparse(line) for line in (body[1:] if ast.get_docstring(tree.body[0]) else body))


def unknown_names(source: str) -> set[str]:
    """Names that an example uses and does not make."""
    nodes = list(ast.walk(ast.parse(source)))
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {(alias.asname or alias.name).split(".")[0] for node in nodes for alias in getattr(node, "names", ())}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler | ast.FunctionDef) and node.name}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return used - made - GIVEN - set(dir(builtins))


def test_every_entry_has_an_example(entries):
    """An abstract class has none: docs/extending.md writes subclasses. The examples are run by test_docs."""
    without = {name for name, value in entries.items() if not examples(value) and not inspect.isabstract(value)}
    assert without == set(NO_EXAMPLE)


def test_examples_are_short_and_show_a_result(entries):
    """At most eight lines of input, and at least one line of output."""
    for name, value in entries.items():
        if found := examples(value):
            lines = sum(len(example.source.splitlines()) for example in found)
            assert lines <= LINES, f"{name}: its example has {lines} lines"
            assert any(example.want for example in found), f"{name}: its example shows nothing"


def test_examples_hide_nothing(entries):
    """Every name in an example is made in it, or is one of the four that are given."""
    hidden = {name: unknown_names("".join(e.source for e in examples(value))) for name, value in entries.items()}
    assert {name: names for name, names in hidden.items() if names} == {}


def test_errors_are_said(entries):
    """An entry whose own code raises or checks has a section ``Raises``."""
    raising = [
        name for name, value in entries.items() if any(RAISES.search(code_of(each)) for each in functions_of(value))
    ]
    assert len(raising) > 100
    assert [name for name in raising if "Raises:" not in (entries[name].__doc__ or "")] == []


def test_shapes_of_arrays_are_said(entries):
    """An entry that takes or holds arrays says their shape."""
    taking = []
    for name, value in entries.items():
        parameters = inspect.signature(value).parameters.values() if functions_of(value) else ()
        if any(ARRAYS.search(str(parameter.annotation)) for parameter in parameters):
            taking.append(name)
    assert len(taking) > 50
    assert {name for name in taking if not SHAPE.search(entries[name].__doc__ or "")} == set()


def test_the_checks_of_this_file_find_what_they_look_for():
    """A hidden name, a raise, a missing shape."""
    assert unknown_names("a = torch.ones(b)") == {"b"}
    assert unknown_names("import chipmodels\nwith open('x') as f:\n    [y for y in f]") == set()
    assert RAISES.search("check_number('a', a)") and not RAISES.search("return a")
    assert SHAPE.search("weight: (n_out, n_in).") and not SHAPE.search("f(x) of the weights (and biases)")


def test_what_users_import_is_in_the_reference(entries):
    """Names of the package on the pages and in the tutorials, imported or written ``nr.part.name``."""
    modules = {value.__module__ for value in entries.values()}
    assert "neurorobust.chip.variability" in modules
    text = "".join(path.read_text(encoding="utf-8") for path in [*DOCS.glob("*.md"), *ROOT.glob("tutorials/*.py")])
    nr = importlib.import_module("neurorobust")
    known = {id(value) for value in entries.values()} | {id(getattr(nr, name)) for name in nr.__all__}
    missing = set()
    for words in set(re.findall(r"\bnr((?:\.\w+)+)", text)):
        found: Any = nr
        for word in words.split(".")[1:]:
            found = getattr(found, word, None)
            if inspect.isclass(found) or inspect.isfunction(found):
                missing |= set() if id(found) in known else {f"nr{words}"}
                break
    assert missing == set()


@pytest.fixture
def inventories(monkeypatch):
    """The script that makes the inventories of other projects."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("inventory")


def test_inventories_hold_what_their_script_says(inventories):
    """Of each project its file, in Sphinx's format, with names that can be imported here."""
    files = {path.stem for path in (DOCS / "inventories").glob("*.inv")}
    assert files == set(inventories.PROJECTS)
    for name, project in inventories.PROJECTS.items():
        content = (DOCS / "inventories" / f"{name}.inv").read_bytes()
        assert content.startswith(b"# Sphinx inventory version 2\n")
        assert inventories.read(content) == inventories.lines(project)
        for word in project.names:
            owner, _, last = word.rpartition(".")
            assert hasattr(importlib.import_module(owner), last)


def test_types_of_other_packages_are_in_an_inventory(inventories, entries):
    """Every type of torch, NumPy, pandas, matplotlib or pathlib in the signature of an entry has a link."""
    known = {name.rpartition(".")[2] for project in inventories.PROJECTS.values() for name in project.names}
    types = r"\b(Tensor|Generator|Module|ndarray|DataFrame|Axes|Figure|Path|DataLoader|Dataset)\b"
    used = {
        word
        for value in entries.values()
        for function in functions_of(value)
        for parameter in inspect.signature(function).parameters.values()
        for word in re.findall(types, str(parameter.annotation))
    }
    assert {"Tensor", "Module", "ndarray", "Path"} <= used <= known
