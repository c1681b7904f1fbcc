"""Sphinx: pages in Markdown, reference from the docstrings; generate.py makes the other pages from the code."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
import sys
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import resolve_reference_any_inventory
from sphinx.util.nodes import make_refnode

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

import explorer_page  # noqa: E402
import generate  # noqa: E402
from inventory import PROJECTS  # noqa: E402

import neurorobust  # noqa: E402

project = "neurorobust"
version = release = neurorobust.__version__
copyright = "the neurorobust authors, Apache-2.0"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_generated", "tutorials/*"]  # executed notebooks; generate.py makes pages of them
nitpicky = True

html_theme = "furo"
html_title = f"neurorobust {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_js_files = ["scroll.js", "sort.js"]
html_copy_source = False

myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 3

nb_execution_mode = "off"  # `make tutorials` executes
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no page asks another site for anything

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.output) > div.highlight pre"

# Other projects by small inventories that lie here (inventory.py): no build asks another site.
intersphinx_mapping = {name: (project.url, f"inventories/{name}.inv") for name, project in PROJECTS.items()}

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_use_rtype = False  # "Returns:" is a sentence here, not a type
napoleon_custom_sections = [("Attributes", "params_style")]  # several names may share a line
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"


def locate(name: str) -> object | None:
    """The object with a full dotted name, if it is imported; the module where a module and a function share it."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        found: object | None = sys.modules.get(".".join(words[:end]))
        if found is not None:
            for word in words[end:]:
                found = getattr(found, word, None)
            return found
    return getattr(builtins, name, None)


def find(target: str, home: str) -> object | None:
    """The object that a reference in a docstring of module ``home`` names, in full or as seen from there."""
    modules = sorted((m for m in sys.modules if m.startswith("neurorobust.")), key=lambda m: not m.startswith(home))
    names = (target, *(f"{module}.{target}" for module in (home, *modules)))
    return next((found for found in map(locate, names) if found is not None), None)


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element) -> nodes.Element | None:
    """Link a name to its documentation, whichever of its names was used.

    Objects of other packages are linked where an inventory has them, and stay plain text elsewhere. A name that does
    not exist is left to Sphinx, which warns.
    """
    if node.get("refdomain") != "py":
        return None
    found = find(node["reftarget"], node.get("py:module") or "neurorobust")
    if found is None:
        return None
    packages = getattr(found, "__module__", getattr(found, "__name__", "")).split(".")
    names = [found.__qualname__] if hasattr(found, "__qualname__") else []
    known = env.domains.python_domain.objects
    for end in range(len(packages), 0, -1):
        name = ".".join([*packages[:end], *names])
        if name in known:
            entry = known[name]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    node["reftype"], node["reftarget"] = "obj", public_names().get(id(found), node["reftarget"])
    return resolve_reference_any_inventory(env, False, node, contnode) or contnode


@cache
def public_names() -> dict[int, str]:
    """The name under which another project documents an object, by the object's identity: it may lie elsewhere."""
    names = [name for project in PROJECTS.values() for name in project.names]
    for name in names:
        importlib.import_module(name.rpartition(".")[0])
    return {id(locate(name)): name for name in names}


def one_entry_each(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """``a: this. b: that.`` on one line of a docstring's arguments, or of its errors, become two entries."""
    try:
        names = "|".join(inspect.signature(obj).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        names = ""
    sections = {"Args:": names, "Attributes:": names, "Raises:": r"\w+Error"}
    indent, words, result = "", "", [""]
    for line in lines:
        if line.strip() in sections:
            words, indent = sections[line.strip()], line[: len(line) - len(line.lstrip())] + "    "
        elif line and not line.startswith(indent):
            words = ""
        entry = rf"(?:{words})(?:, (?:{words}))*: "
        if words and result[-1].endswith(".") and re.match(entry, line.lstrip()):
            line = indent + line.lstrip()  # an entry that begins where a line of the one before it would go on
        first, *others = re.split(rf"(?<=\.) (?={entry})", line) if words else [line]
        result += [first, *(indent + other for other in others)]
    lines[:] = result[1:]


def signature(app: Sphinx, what: str, name: str, obj: object, options: object, own: str, returns: str) -> tuple | None:
    """A dataclass's computed defaults print as ``<factory>``, which no reader of signatures understands."""
    return (own.replace("<factory>", "..."), returns) if own and "<factory>" in own else None


def public_bases(app: Sphinx, name: str, obj: type, options: object, bases: list) -> None:
    """A private class between a class and its public base is not shown."""
    for i, base in enumerate(bases):
        if getattr(base, "__name__", "").startswith("_"):
            bases[i] = next(each for each in base.__mro__ if not each.__name__.startswith("_"))


def links_back(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Mend links from source code to the reference, which names some members by module and not by package."""
    if not page.startswith("_modules/"):
        return
    known = {entry.node_id: entry.docname for entry in app.env.domains.python_domain.objects.values()}
    words = page.removeprefix("_modules/").split("/")
    homes = [".".join(words[:end]) for end in range(len(words), 0, -1)]  # the module, and the packages around it

    def mended(link: re.Match) -> str:
        names = link["anchor"].split(".")
        inner = [".".join(names[i:]) for i in range(len(names))]
        for anchor in (link["anchor"], *(f"{home}.{name}" for home in homes for name in inner)):
            if anchor in known:
                return f'{link["before"]}{"../" * page.count("/")}{known[anchor]}.html#{anchor}"'
        return link[0]

    back = re.compile(r'(?P<before><a class="viewcode-back" href=")[^"#]*#(?P<anchor>[^"]+)"')
    context["body"] = back.sub(mended, context["body"])


def setup(app: Sphinx) -> None:
    """Generate the pages before they are read."""
    app.connect("html-page-context", links_back)
    app.connect("builder-inited", lambda app: generate.write_all(HERE))
    app.connect("build-finished", explorer_page.write)
    app.connect("autodoc-process-docstring", one_entry_each, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("missing-reference", resolve)
