"""The house's docstrings in the words of reStructuredText.

Cost: none. Hurts when: …      →  :Cost: none.  :Hurts when: …     fields, like Parameters
Returns:, Shapes:              →  :returns:, :Shapes:              a sentence, not "type: text"
an indented formula            →  a literal block
`open_data` in backticks       →  a link, where the name is documented; else plain code
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring

__all__ = ["house_fields", "literal_blocks", "setup"]

FIELD = re.compile(r"(?:^|(?<=\.\s))(Cost|Hurts when|Sources?|Deviations[^:.]*): ")
SECTION = re.compile(r"^[A-Z][A-Za-z ]*:$")
NAPOLEON = Config(napoleon_use_ivar=True)
SENTENCES = {"Returns:": "returns", "Yields:": "yields", "Shapes:": "Shapes"}
TRAILING = re.compile(r"(?<![`\w.])(\w+)_(?=[,;.)])")  # classes_ would be the name of a link


def literal_blocks(lines: Sequence[str]) -> list[str]:
    """Mark indented blocks that are not the body of a section as literal.

    >>> literal_blocks(["The idea.", "", "    loss = x", "", "Args:", "    x: A number."])
    ['The idea.', '', '::', '', '    loss = x', '', 'Args:', '    x: A number.']
    """
    found: list[str] = []
    inside = False  # a section, a list, or a block that is marked already
    for line in lines:
        if line and not line.startswith(" "):
            inside = bool(SECTION.match(line)) or line.endswith("::") or line.startswith("..")
        elif line and not inside and found and not found[-1]:
            found += ["::", ""]
            inside = True
        found.append(line)
    return found


def house_fields(lines: Sequence[str]) -> list[str]:
    """Turn what begins with Cost, Hurts when, Source, Deviations, Returns or Shapes into fields.

    >>> house_fields(["Cost: none. Hurts when: it", "rains.", "Returns:", "    (B,) float."])
    [':Cost: none.', ':Hurts when: it rains.', '', '', ':returns:', '    (B,) float.', '']
    """
    found: list[str] = []
    rest = deque(lines)
    while rest:
        line = rest.popleft()
        if line in SENTENCES:
            found += ["", f":{SENTENCES[line]}:"]
            while rest and rest[0].startswith(" "):
                found.append(rest.popleft())
            found.append("")
        elif FIELD.match(line):
            paragraph = [line]
            while rest and rest[0].strip() and rest[0] not in SENTENCES:
                paragraph.append(rest.popleft().strip())
            pieces = FIELD.split(" ".join(paragraph))[1:]
            for name, text in zip(pieces[::2], pieces[1::2], strict=True):
                found.append(f":{name}: {text.strip()}")
            found.append("")
        else:
            found.append(line)
    return found


def rewrite(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place; that of a module speaks of its code, and is left out."""
    if what == "module":
        lines.clear()
        return
    if what in ("attribute", "data", "property"):
        return  # a sentence or two: napoleon would take what stands before a colon for a type
    ours = [escaped(line) for line in house_fields(literal_blocks(lines))]
    lines[:] = GoogleDocstring(ours, NAPOLEON, app, what, name, obj, options).lines()


def escaped(line: str) -> str:
    r"""Take from `classes_` and `part-*.csv` the meaning that reStructuredText gives them.

    >>> escaped("one of classes_, or part-*.csv")
    'one of classes\\_, or part-\\*.csv'
    """
    return re.sub(r"(?<=[\w-])\*(?=[\w.])", r"\*", TRAILING.sub(r"\1\_", line))


def homes(modules: Sequence[str]) -> dict[str, str]:
    """Where every object is documented, by the path of its definition and by its bare name."""
    found: dict[str, str] = {}
    for module in modules:
        loaded = import_module(module)
        for name in loaded.__all__:
            value = getattr(loaded, name)
            setattr(loaded, name, value)  # autodoc sees what is there, not what comes when asked
            home = getattr(value, "__module__", None)
            for key in (f"{home}.{name}", name):
                found.setdefault(key, f"{module}.{name}")
    return found


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find names that are written shorter or longer than they are documented."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    known = app.config.documented_homes
    first, _, rest = target.partition(".")
    for home in (known.get(target), f"{known[first]}.{rest}" if rest and first in known else None):
        if home is None:
            continue
        domain = env.domains.python_domain
        found = domain.find_obj(env, "", "", home, None, 0)
        if found:
            docname, anchor = found[0][1].docname, found[0][1].node_id
            link = nodes.reference("", "", content, internal=True)
            link["refuri"] = f"{app.builder.get_relative_uri(node['refdoc'], docname)}#{anchor}"
            return link
    # a backtick in a docstring may be any piece of code
    return content if node["reftype"] == "obj" else None


def load_homes(app: Sphinx) -> None:
    """Once the configuration is read."""
    app.config.documented_homes = homes(app.config.documented_modules)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to autodoc; napoleon is called from here, and not as an extension of its own."""
    app.add_config_value("documented_modules", [], "env")
    app.add_config_value("documented_homes", {}, "")
    app.connect("builder-inited", load_homes)
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
