"""The site leaves nothing out. That it builds and its links lead somewhere, `make docs` says."""

import doctest
import importlib.util
import re
import runpy
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from thresher import noise
from thresher.cli.app import app
from thresher.noise.families import FAMILIES

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS.parent / "benchmarks" / "results"
PUBLIC = (
    "thresher",
    "thresher.audit",
    "thresher.cluster",
    "thresher.data",
    "thresher.errors",
    "thresher.models",
    "thresher.noise",
    "thresher.settings",
)
TEXTS = """# A page

## Toys

`python benchmarks/toys.py`: three seeds.

|  | AUROC | accuracy |
| --- | ---: | ---: |
| standard | 90 | 75.2 (74.2–76.4) |
| elr | 91 | 95.2 (95.0–95.3) |
| elr, estimated | 92 | 94.0 (93.0–95.0) |
| gce | 93 | 94.9 (94.6–95.3) |

| bar | required |
| --- | ---: |
| elr: last | ≥ 8 |
"""


def extension(name):
    """A module of docs/extensions."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def blocks(page, language):
    """The code blocks of a page, without the indentation of lists."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"(?m)^{indent}", "", code) for indent, code in found]


# ---------------------------------------------------------------------- methods
@pytest.mark.parametrize("name", noise.METHODS)
def test_every_method_has_a_page(name):
    """With its name, its settings from the docstring and its figures from the results."""
    page = (DOCS / "methods" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    assert f"--method {name}`" in page
    assert f".. autoclass:: thresher.noise.{noise.METHODS[name]}\n" in page
    assert f"```{{measured}} {name}\n" in page


def test_the_index_lists_the_methods_in_their_order():
    """In the table, and in the navigation beside it."""
    index = (DOCS / "methods" / "index.md").read_text()
    assert re.findall(r"^\| \[([\w-]+)\]\(\1\.md\)", index, re.MULTILINE) == list(noise.METHODS)
    assert blocks(DOCS / "methods" / "index.md", r"\{toctree\}")[0].split()[1:] == list(
        noise.METHODS
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_page_with_all_its_members(family):
    """With a formula, its measurements, and a row for each member that leads to its page."""
    slug = family.replace(" ", "-")
    page = (DOCS / "methods" / "families" / f"{slug}.md").read_text()
    assert page.startswith(f"# {family.capitalize()}\n")
    members = [name for name in noise.METHODS if noise.method_class(name).family == family]
    assert members
    formulas = page[page.index("\n## Formulas\n") : page.index("\n## What it assumes\n")]
    assert "$" in formulas
    for name in members:
        assert f"\n| [{name}](../{name}.md)" in formulas
        assert re.search(rf"```\{{measured\}}[^\n]* {name}( |\n)", page)
    for heading in (
        "When it helps, and when it hurts",
        "Memory and time",
        "Where to begin",
        "Measured",
    ):
        assert f"\n## {heading}\n" in page


def test_the_index_lists_the_families_with_what_they_mean_and_their_members():
    """In their order, in the table and in the navigation."""
    index = (DOCS / "methods" / "index.md").read_text()
    rows = dict(
        re.findall(r"^\| \[([a-z ]+)\]\(families/[\w-]+\.md\) \| (.*) \|$", index, re.MULTILINE)
    )
    assert list(rows) == list(FAMILIES)
    for family, means in FAMILIES.items():
        told, _, members = rows[family].rpartition(" | ")
        assert told == means
        assert re.findall(r"\[([\w-]+)\]\(\1\.md\)", members) == [
            name for name in noise.METHODS if noise.method_class(name).family == family
        ]
    navigation = blocks(DOCS / "methods" / "index.md", r"\{toctree\}")[1]
    assert re.findall(r"^families/([\w-]+)$", navigation, re.MULTILINE) == [
        family.replace(" ", "-") for family in FAMILIES
    ]


# ---------------------------------------------------------------------- the program
def test_every_command_is_documented():
    """Each has its heading and its directive."""
    page = (DOCS / "reference" / "command-line.md").read_text()
    commands = extension("command_line").command_names()
    assert sorted(re.findall(r"```\{command\} ([\w -]+)\n", page)) == sorted(commands)
    assert all(f"## thresher {name}\n" in page for name in commands)


@pytest.mark.parametrize("name", ["", *extension("command_line").command_names()])
def test_every_option_is_documented(name):
    """With what the program's own help says of it."""
    command = typer.main.get_command(app)
    for each in name.split():
        command = command.commands[each]
    described = extension("command_line").described(name)
    assert command.params
    for parameter in command.params:
        usage = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name
        assert re.search(rf"(?m)^```\{{option\}} {usage}( |,|$)", described), usage
        assert (parameter.help or "").split("<")[0].rstrip() in described


# ---------------------------------------------------------------------- the library
def documented():
    """The names that the reference and the pages of the methods document, by module."""
    for page in [*DOCS.glob("reference/*.md"), *DOCS.glob("methods/*.md")]:
        text = page.read_text()
        for module, options in re.findall(r"automodule:: ([\w.]+)\n((?:   :.*\n)*)", text):
            left_out = re.findall(r"exclude-members: (.*)", options)
            names = set(import_module(module).__all__)
            for name in names - {each.strip() for line in left_out for each in line.split(",")}:
                yield module, name
        current = re.findall(r"currentmodule:: ([\w.]+)", text)
        for name in re.findall(r"auto(?:class|data):: ([\w.]+)", text):
            whole = name if "." in name else f"{current[0]}.{name}"
            yield tuple(whole.rsplit(".", 1))


def test_every_public_name_is_in_the_reference():
    """Once: a second place would compete for the links."""
    found = [name for _, name in documented()]
    twice = {name for name in found if found.count(name) > 1}
    public = {name for module in PUBLIC for name in import_module(module).__all__}
    assert public - set(found) == set()
    # a column of a history and one of a table; a method that weighs and a sampler that draws
    assert twice == {"ActiveBias", "Column"}


def test_links_in_docstrings_know_every_module_of_the_reference(monkeypatch):
    """What automodule documents, the configuration lists."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # which the configuration adds to
    listed = runpy.run_path(str(DOCS / "conf.py"))["documented_modules"]
    assert {module for module, _ in documented()} == set(listed)


# ---------------------------------------------------------------------- figures
def test_every_page_of_results_is_on_the_site():
    """Written by a benchmark, shown under measurements."""
    assert [each.name for each in sorted(RESULTS.glob("*.md"))] == [
        each.name for each in sorted((DOCS / "measurements").glob("*.md"))
    ]
    for page in RESULTS.glob("*.md"):
        text = (DOCS / "measurements" / page.name).read_text()
        assert text == f"```{{include}} ../../benchmarks/results/{page.name}\n```\n"


def test_an_excerpt_holds_the_rows_of_a_method_beside_the_baseline():
    """Means without their ranges, with the command; without other methods and tables of bars."""
    measured = extension("measured")
    assert measured.excerpt(["elr"], list(measured.read_tables("page", TEXTS))) == (
        "**Toys**, `python benchmarks/toys.py`; in full: {doc}`/measurements/page`\n"
        "\n"
        "| method | accuracy |\n"
        "| --- | ---: |\n"
        "| standard | 75.2 |\n"
        "| elr | 95.2 |\n"
        "| elr, estimated | 94.0 |"
    )


def test_an_excerpt_of_a_family_holds_the_rows_of_each_member():
    """With the data in a column where they differ."""
    measured = extension("measured")
    texts = (
        TEXTS + "\n### Others\n\n|  | accuracy |\n| --- | ---: |\n| standard | 70 |\n| gce | 71 |\n"
    )
    assert measured.excerpt(["elr", "gce"], list(measured.read_tables("page", texts))).endswith(
        "| data | method | accuracy |\n"
        "| --- | --- | ---: |\n"
        "| Toys | standard | 75.2 |\n"
        "| Toys | elr | 95.2 |\n"
        "| Toys | elr, estimated | 94.0 |\n"
        "| Toys | gce | 94.9 |\n"
        "| Others | standard | 70 |\n"
        "| Others | gce | 71 |"
    )


def test_the_data_of_a_comparison_stand_before_its_sections():
    """What `thresher bench` writes has kinds of noise for headings, and the data once above."""
    measured = extension("measured")
    page = "# Methods\n\ndigits: 1,213 samples trained, 449 tested.\n\n" + TEXTS.split("\n", 2)[2]
    assert [each.section for each in measured.read_tables("bench", page)] == ["Digits, toys"] * 2


def test_a_sampler_is_not_taken_for_the_method_of_its_name():
    """What draws by the deviation of predictions is measured apart from what weighs by it."""
    measured = extension("measured")
    rows = TEXTS.replace("standard", "shuffled").replace("| gce", "| active-bias")
    tables = list(measured.read_tables("selection", rows.replace("| elr", "| rho-loss")))
    assert measured.excerpt(["active-bias"], tables) == ""
    assert "| shuffled | 75.2 |" in measured.excerpt(["rho-loss"], tables)


def test_a_method_that_was_not_measured_has_no_excerpt():
    """The baseline alone would say nothing of it."""
    measured = extension("measured")
    assert measured.excerpt(["morph"], list(measured.read_tables("page", TEXTS))) == ""


# ---------------------------------------------------------------------- pages
@pytest.mark.parametrize(
    ("page", "found"),
    [
        (
            '<script src="https://cdn.example/mathjax.js"></script>',
            ["https://cdn.example/mathjax.js"],
        ),
        ('<img src="//host.example/a.png">', ["//host.example/a.png"]),
        ('<link rel="stylesheet" href="http://fonts.example/css">', ["http://fonts.example/css"]),
        ('<p style="background: url(https://a.example/b.png)">', ["https://a.example/b.png"]),
        ('<script src="_static/doctools.js"></script><img src="data:image/png;base64,AA">', []),
        ('<a href="https://a.example">a</a><link rel="canonical" href="https://a.example">', []),
    ],
)
def test_what_a_page_loads_from_another_host_is_found(page, found):
    """Whatever is fetched without a click; links are not."""
    assert extension("self_contained").foreign_loads(page) == found


@pytest.mark.parametrize("name", [each.stem for each in sorted((DOCS / "extensions").glob("*.py"))])
def test_the_examples_in_the_extensions_hold(name):
    """Their doctests, which lie outside of the package."""
    assert doctest.testmod(extension(name)).failed == 0


def test_the_start_page_and_the_audit_page_run(tmp_path, monkeypatch):
    """Every block of Python and every call of the program, with fewer epochs."""
    monkeypatch.chdir(tmp_path)
    names = {}
    python = blocks(DOCS / "start.md", "python")
    exec(python[0], names)
    lines = "".join(blocks(DOCS / "start.md", "console")).splitlines()
    calls = [shlex.split(line)[2:] for line in lines if line.startswith("$ thresher ")]
    assert len(calls) == 5
    for call in calls:
        if call[0] == "demo":
            continue  # minutes of its own; tests/cli runs it
        short = ["--epochs", "2"] if call[0] == "fit" else []
        assert CliRunner().invoke(app, [*call, *short], catch_exceptions=False).exit_code == 0, call
    exec(python[1], names)
    for block in blocks(DOCS / "how-to" / "audit.md", "python"):
        exec(block, names)
    assert len(names["audit"]) == len(names["train"])
    assert (tmp_path / "to_check.csv").is_file()


def test_the_page_on_the_estimator_runs():
    """Both blocks, one after the other."""
    names = {}
    for block in blocks(DOCS / "how-to" / "estimator.md", "python"):
        exec(block, names)
    assert names["scores"].shape == (3,)
