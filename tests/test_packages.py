"""The wheel and the source archive: the same bytes twice, whole, and they work where nothing else of ours is."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import ROOT

sys.path.append(str(ROOT / "docs"))
sys.path.append(str(ROOT / ".ci/release"))

import backend
import licences
import matrix
import packages
import versions_page

import neurorobust
from neurorobust._util import shipped

NAME = f"neurorobust-{neurorobust.__version__}"
CLONE = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the archives are built from the files that git knows")
IMPORTS = 600
"""Modules that training, attacks, evaluation and a chip model may add to torch's; 430 of them now."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source archive and the wheel from it: (folder, sdist, wheel)."""
    folder = tmp_path_factory.mktemp("built")
    return folder, *packages.build_both(folder)


def members(path):
    """Content by name, of either archive; without the folder in which the sources stand."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        files = [one for one in archive.getmembers() if one.isfile()]
        return {one.name.partition("/")[2]: archive.extractfile(one).read() for one in files}


@CLONE
def test_the_same_files_give_the_same_bytes(built, tmp_path, monkeypatch):
    """Another folder, time, umask and time zone, and the rubbish of an earlier build; the wheel without the archive."""
    _, sdist, wheel = built
    clone = tmp_path / "another place"
    packages.copy_sources(clone)
    for i, path in enumerate(sorted(path for path in clone.rglob("*") if path.is_file())):
        path.chmod(0o600 if i % 2 else 0o755)
        os.utime(path, (10**9 + i, 10**9 + i))
    for name in ("build/lib/neurorobust/old.py", "neurorobust/__pycache__/x.cpython-311.pyc", "docs/_build/x.html"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("rubbish")
    (clone / "neurorobust.egg-info").mkdir()
    (clone / "neurorobust.egg-info/SOURCES.txt").write_text("docs/_build/x.html\nbuild/lib/neurorobust/old.py\n")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    old = os.umask(0o077)
    try:
        again = packages.build("sdist", clone, tmp_path), packages.build("wheel", clone, tmp_path)
    finally:
        os.umask(old)
    assert [path.name for path in again] == [sdist.name, wheel.name]
    assert again[1].read_bytes() == wheel.read_bytes()
    one, other = members(sdist), members(again[0])
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} == set()
    assert again[0].read_bytes() == sdist.read_bytes()


@CLONE
def test_the_bytes_change_with_a_file_and_with_the_date(built, tmp_path, monkeypatch):
    """A check that any archive would pass is none."""
    _, sdist, wheel = built
    date = backend.epoch()
    assert backend.plain_wheel(wheel.read_bytes(), date) == wheel.read_bytes()
    assert backend.plain_wheel(wheel.read_bytes(), date + 86400) != wheel.read_bytes()
    assert backend.plain_sdist(sdist.read_bytes(), date) == sdist.read_bytes()
    assert backend.plain_sdist(sdist.read_bytes(), date + 1) != sdist.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert backend.epoch() == 1_700_000_000


@pytest.mark.parametrize("text", ["", "now", "-1", "1.5", "0", "4354819200"])
def test_a_date_that_an_archive_cannot_hold_is_refused(text, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(ValueError, match=r"SOURCE_DATE_EPOCH: got .*; expected whole seconds since 1970"):
        backend.epoch()


@CLONE
def test_the_archives_hold_what_git_knows(built):
    """The source archive every file; the wheel the two packages and the tutorials, and nothing of the rest."""
    _, sdist, wheel = built
    known, in_wheel = set(packages.tracked()), members(wheel)
    assert {name for name in members(sdist) if ".egg-info/" not in name and name != "PKG-INFO"} == known
    installed = {name for name in known if name.startswith(("neurorobust/", "chipmodels/"))}
    share = f"{NAME}.data/data/share/neurorobust"
    shared = {f"{share}/{name}" for name in known if name.startswith("tutorials/")}
    assert {name for name in in_wheel if ".dist-info/" not in name} == installed | shared
    assert all(in_wheel[name] == (ROOT / name).read_bytes() for name in installed)


@CLONE
def test_what_the_wheel_says_about_itself(built):
    """Author, addresses, licence and its text, Pythons that were tested, extras; and the text of README."""
    _, _, wheel = built
    found = members(wheel)
    said = BytesParser().parsebytes(found[f"{NAME}.dist-info/METADATA"])
    assert (said["Name"], said["Version"], said["Requires-Python"]) == (
        "neurorobust",
        neurorobust.__version__,
        ">=3.11",
    )
    assert said["Author"] == "The neurorobust developers" and said["License"] == "Apache-2.0"
    assert all(url.partition(", ")[2].startswith("https://") for url in said.get_all("Project-URL"))
    assert found[f"{NAME}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    tested = {version for version, result in versions_page.kept("matrix.json").items() if "tests" in result} | {"3.11"}
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(said.get_all("Classifier")))
    assert set(named) == tested, "classifiers of setup.cfg: those of .ci/release/matrix.json, and 3.11"
    assert said.get_payload().startswith("# neurorobust")


@CLONE
def test_it_works_in_an_environment_of_its_own(built, tmp_path):
    """Only the wheel is installed there. Its dependencies are borrowed from this environment, whose copy of neurorobust
    is not seen. `make matrix` installs them anew."""
    folder, sdist, wheel = built
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}

    def said(*command, cwd=tmp_path):
        ran = subprocess.run(
            list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        return ran.stdout

    said(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    own = folder / "env/bin/python"
    place = Path(said(own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (place / "borrowed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    pip = [sys.executable, "-m", "pip", "--python", own, "--disable-pip-version-check", "--no-input", "--quiet"]
    said(*pip, "install", "--no-deps", "--no-index", "--no-compile", "--ignore-installed", wheel)
    where = said(own, "-c", "import neurorobust as n, chipmodels as c; print(n.__file__, c.__file__)").split()
    assert all(Path(path).is_relative_to(place) for path in where)
    unmet = subprocess.run([*map(str, pip), "check"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert [line for line in unmet.stdout.splitlines() if line.startswith("neurorobust ")] == []
    chips = json.loads(said(folder / "env/bin/neurorobust", "chips", "list", "--json"))
    assert chips
    said(folder / "env/bin/neurorobust", "tutorials", tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {path.name for path in shipped.tutorial_files()}
    sources = packages.unpack(sdist, tmp_path)
    files = [f"tests/test_{name}.py" for name in ("configuration", "laws", "statistics")]
    out = said(own, "-P", "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", *files, cwd=sources)
    assert re.search(r"^\d+ passed", out.splitlines()[-1]), out


def test_only_a_clone_is_built(tmp_path):
    with pytest.raises(ValueError, match="git lists no sources here; build in a clone"):
        packages.tracked(tmp_path)


def test_a_build_that_fails_says_why(tmp_path):
    (tmp_path / ".ci/release").mkdir(parents=True)
    shutil.copyfile(ROOT / ".ci/release/backend.py", tmp_path / ".ci/release/backend.py")
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = x\nversion = what\n")
    with pytest.raises(RuntimeError, match=r"wheel: the build failed: [\s\S]*what"):
        packages.build("wheel", tmp_path, tmp_path)


# ---- make matrix


def test_the_matrix_is_recorded():
    """Every Python of the list, with a result or with the reason why there is none; the table shows each."""
    results = versions_page.kept("matrix.json")
    assert tuple(results) == matrix.PYTHONS
    for version, found in results.items():
        assert "not run" in found or found["python"].startswith(version)
        assert "not run" in found or (found["tests"]["passed"] > 0 and set(matrix.SHOWN) == set(found["versions"]))
    shown = versions_page.matrix_table({**results, "3.99": {"not run": "no Python 3.99", "date": "2026-01-01"}})
    assert "| 3.99 |" in shown and "not run: no Python 3.99" in shown and len(shown.splitlines()) == 3 + len(results)
    assert "FAILED: pip check" in versions_page.matrix_table({"3.99": {"failed": "pip check", "date": ""}})


def test_the_matrix_runs_the_tests_of_the_oldest_versions():
    """OLDEST_TESTS of the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    names = re.search(r"^OLDEST_TESTS := \$\(patsubst %,tests/test_%\.py,([^)]*)\)", text, re.MULTILINE)[1].split()
    assert set(names) == set(matrix.TESTS)


def test_a_python_that_is_not_there_is_not_claimed(monkeypatch, tmp_path):
    """Neither on the path nor of pyenv; one on the path that is another Python does not count."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert matrix.find("3.12") is None
    (tmp_path / "python3.99").symlink_to(sys.executable)
    found = matrix.run("3.99", tmp_path / "x.whl", tmp_path, keep=False)
    assert found["not run"] == "no Python 3.99 on this machine"
    here = "{}.{}".format(*sys.version_info[:2])
    (tmp_path / f"python{here}").symlink_to(sys.executable)
    assert matrix.find(here) == tmp_path / f"python{here}"


def test_a_step_that_fails_is_a_result(monkeypatch, tmp_path):
    """In one line, with what the command said."""
    monkeypatch.setattr(matrix, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(matrix, "find", lambda version: Path(sys.executable))
    monkeypatch.setattr(matrix, "install", lambda *_: matrix.call("pip check", [sys.executable, "-c", "exit('bad')"]))
    found = matrix.run("3.11", tmp_path / "x.whl", tmp_path, keep=False)
    assert found["failed"] == "pip check: exit 1: bad" and "tests" not in found


def test_what_a_package_lacks_is_a_failure(monkeypatch):
    """But not what the packages of data ask for, which are installed without it."""
    said = "seglearn 1.2.5 requires scikit-learn, which is not installed.\n"
    ran = subprocess.CompletedProcess([], 1, stdout=said, stderr="")
    monkeypatch.setattr(matrix.subprocess, "run", lambda *_, **__: ran)
    matrix.check_requirements(Path("python"))
    ran.stdout += "typer 0.29 requires click, which is not installed.\n"
    with pytest.raises(matrix.Failed, match=r"^pip check: typer 0\.29 requires click, which is not installed\.$"):
        matrix.check_requirements(Path("python"))
    ran.stdout, ran.stderr = "", "No module named pip"
    with pytest.raises(matrix.Failed, match=r"^pip check: No module named pip$"):
        matrix.check_requirements(Path("python"))


# ---- licences


def test_every_package_that_we_ask_for_has_a_licence():
    """Those that setup.cfg names, and those that these name; with the licence that the installed package states."""
    kept = licences.read()
    for part, wanted in licences.requirements().items():
        for requirement in wanted:
            name = canonicalize_name(requirement.name)
            assert part in kept.get(name, {"for": []})["for"], f"{name}: run python .ci/release/licences.py"
            try:
                stated, further = licences.licence_of(metadata.metadata(name)), metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            assert kept[name]["licence"] == stated, f"{name}: run python .ci/release/licences.py"
            needed = [one for one in map(Requirement, further) if not one.marker or one.marker.evaluate({"extra": ""})]
            assert {canonicalize_name(one.name) for one in needed} <= kept.keys(), f"needed by {name}"


def test_the_gpl_is_in_an_extra_of_its_own():
    """No package of the core or of another extra names it; the one whose metadata are silent is explained."""
    kept = licences.read()
    assert [name for name, entry in kept.items() if re.search(r"\bA?GPL|General Public", entry["licence"])] == []
    silent = {name for name, entry in kept.items() if entry["licence"] == licences.UNKNOWN}
    page = (ROOT / "docs/versions.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in silent) and kept["espeakng-loader"]["for"] == ["speech"]


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": "MIT", "License": "other"}, "MIT"),
        ({"License": "BSD"}, "BSD"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT License"),
        ({"License": "Copyright " * 9, "Classifier": "License :: OSI Approved :: ISC"}, "ISC"),
        ({"Classifier": "Topic :: x"}, licences.UNKNOWN),
    ],
)
def test_a_licence_by_name(fields, licence):
    """The expression, else the short field, else the classifiers; never the text of a licence."""
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    assert licences.licence_of(BytesParser().parsebytes(text.encode())) == licence


# ---- imports


def test_what_training_imports():
    """`import neurorobust` nothing; training, attacks, evaluation and a chip model no figures, tables or statistics."""
    code = (
        "import sys, json, torch; a = set(sys.modules); import neurorobust as nr; b = set(sys.modules)\n"
        "nr.fit, nr.evaluate, nr.attacks.PGA; import chipmodels; chipmodels.load('dynapse2')\n"
        "print(json.dumps([sorted(b - a), sorted(set(sys.modules) - b)]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, used = json.loads(ran.stdout)
    assert plain == ["neurorobust"]
    heavy = {"matplotlib", "pandas", "snntorch", "numba", "scipy.stats", "scipy.optimize", "typer", "jinja2"}
    assert heavy & set(used) == set() and len(used) <= IMPORTS
    assert "neurorobust.train" in used and "chipmodels.dynapse2" in used


def test_fitting_is_there_on_first_use():
    """``chipmodels`` imports what fits measurements when it is asked for, and has no other name."""
    import chipmodels

    assert set(chipmodels.__all__) <= set(dir(chipmodels))
    assert chipmodels.fit_chip.__module__.startswith("neurorobust.fitting")
    with pytest.raises(AttributeError, match="no attribute 'fit_chp'"):
        chipmodels.fit_chp  # noqa: B018


def test_the_extras_that_are_listed_exist():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = set(config["options.extras_require"])
    assert set(licences.EXTRAS) <= extras and set(matrix.EXTRAS.split(",")) <= extras
