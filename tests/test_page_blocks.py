"""Code of README and the pages outside blocks marked as Python: there is none that no test runs."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import sys
from dataclasses import replace

import pytest
import torch
from pages import FENCE, ROOT

import neurorobust as nr

sys.path.append(str(ROOT / "docs"))

import notebooks

pytest_plugins = ["pytester"]
INDENTED = re.compile(r"(?:^    .*\n|\n(?=    ))+", re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_HERE = {
    "testing.md": "def test_",
    "reproduce.md": "Fabric(accelerator=",
    "scale.md": "from dask.distributed import Client",
    "exchange.md": "import pyNN.nest",
    "extending.md": "# %% [markdown]",
}
"""Pages whose blocks need a runner of their own, with a piece of the code; each has a test below."""


def python_blocks(text: str) -> list[str]:
    """Indented blocks, and fences of another language, that are Python which calls, imports or defines something."""
    found = [match["text"] for match in FENCE.finditer(text) if not re.match(r"python|{", match["info"].strip())]
    rest = FENCE.sub("", text)
    found += [re.sub(r"^    ", "", match[0], flags=re.MULTILINE) for match in INDENTED.finditer(rest)]
    return [code for code in found if _does_something(code)]


def _does_something(code: str) -> bool:
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call | ast.Import | ast.FunctionDef) for node in ast.walk(tree))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_python_hides_in_other_blocks(path):
    """Python is in blocks marked so, which test_docs runs, or in those that are run below."""
    hidden = python_blocks(path.read_text(encoding="utf-8"))
    assert [code for code in hidden if RUN_HERE.get(path.name, "\0") not in code] == []


def test_hidden_python_is_found():
    """In an indented block and in a fence of text; shell lines, formulas and results are none."""
    text = "a\n\n    import torch\n\nb\n\n```text\nf(1)\n```\n\n    make test\n\nc\n\n    D, o = argmin Σ x\n"
    assert [code.strip() for code in python_blocks(text)] == ["f(1)", "import torch"]


def test_the_tests_of_the_testing_page_run(pytester, monkeypatch):
    """As they stand, with a network and data; the run writes the baseline."""
    blocks = python_blocks((ROOT / "docs/testing.md").read_text(encoding="utf-8"))
    assert len(blocks) == 2
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(
        "import pytest\nimport neurorobust as nr\n"
        "@pytest.fixture\ndef network(): return nr.zoo.load('ecg_dpi/standard')[0]\n"
        "@pytest.fixture\ndef data(): return nr.tasks.ecg().test.balanced(4)\n"
    )
    pytester.makepyfile("import pytest\nimport neurorobust as nr\n" + "\n\n".join(blocks))
    options = ("-p", "neurorobust.testing.plugin", "-p", "no:randomly", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess("--neurorobust-update", *options).assert_outcomes(passed=23)


def test_the_training_on_many_processes_runs(tmp_path, monkeypatch):
    """The code of the page, with one process and few beats."""
    (code,) = python_blocks((ROOT / "docs/reproduce.md").read_text(encoding="utf-8"))
    code = code.replace('devices=2, strategy="ddp_spawn"', "devices=1").replace("epochs=20", "epochs=1")
    code = code.replace("torch.distributed.destroy_process_group()", "pass")
    monkeypatch.chdir(tmp_path)
    whole = nr.tasks.ecg()
    few = whole.train.first(20)
    task = replace(whole, train=few, validation=few, test=few)
    namespace = {"nr": nr, "task": task, "loss": nr.regularizers.ForwardNoise(task.loss, level=0.1)}
    with torch.random.fork_rng():
        exec(compile(code, "reproduce.md", "exec"), namespace)
    assert (tmp_path / "runs/parallel/model.safetensors").is_file()


def test_the_cluster_of_the_scale_page_runs():
    """The code of the page, with a cluster in this process and few dies."""
    distributed = pytest.importorskip("distributed", reason="distributed: install neurorobust[dask]")
    (code,) = python_blocks(_page("scale"))
    network, data, chip = nr.zoo.load("ecg_dpi/adversarial")[0], nr.tasks.ecg().test.balanced(10), nr.mismatch(0.3)
    namespace = {"nr": nr, "network": network, "data": data, "chip": chip}
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options, silence_logs=50) as cluster:
        code = code.replace("tcp://scheduler:8786", cluster.scheduler_address).replace("10_000", "3")
        exec(compile(code, "scale.md", "exec"), namespace)
        namespace["client"].close()
    assert (namespace["fleet"].score == nr.evaluate(network, data, chip, n_dies=3).score).all()


def test_the_lines_of_the_exchange_page_call_what_the_script_has(tmp_path):
    """Every function of network.py that the page calls takes these arguments; test_pynn runs them on NEST."""
    (code,) = [code for code in python_blocks(_page("exchange")) if RUN_HERE["exchange.md"] in code]
    layer = nr.nn.Lif(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.01, v_threshold=0.02, reset=nr.nn.ToValue())
    folder = nr.to_pynn(nr.Network({"hidden": layer}, dt=1e-3), tmp_path / "net")
    script = runpy.run_path(str(folder / "network.py"))
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    called = [node for node in calls if ast.unparse(node.func).startswith("network.")]
    for node in called:
        inspect.signature(script[node.func.attr]).bind(*node.args)
    assert {node.func.attr for node in called} == {"load", "settings", "build", "stimulate", "duration", "steps"}


def test_the_template_of_a_tutorial_has_its_form(tmp_path):
    """With the header of the tutorials it is one, with facts in its first cell."""
    (code,) = [code for code in python_blocks(_page("extending")) if RUN_HERE["extending.md"] in code]
    path = tmp_path / "11_the_title.py"
    path.write_text(notebooks.HEADER + "\n" + code, encoding="utf-8")
    tutorial = notebooks.Tutorial(path)
    tags = [tag for cell in tutorial.notebook.cells for tag in cell.metadata.get("tags", [])]
    assert tutorial.facts.title == "The title" and tutorial.facts.minutes == 3
    assert sorted(tags) == ["figure", "hide-input"]


def _page(name):
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
