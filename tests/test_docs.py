"""What people read first: the site builds, the notebooks run, and the API reference has every public name."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import video_ae
from benchmarks.torture import __main__ as torture

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))
SMALL = {"EPOCHS": 3, "STEPS": 2, "CLIPS": 3}  # budgets that a notebook names; the results are then worth nothing


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path):
    """In an empty folder, warnings being errors. Catches cells that use what no cell defined, and names that moved."""
    budget, count = re.subn(
        rf"^({'|'.join(SMALL)}) = \d+$",
        lambda found: f"{found[1]} = {SMALL[found[1]]}",
        notebook.read_text(),
        flags=re.M,
    )
    assert count >= 1, "a notebook names its budget, so that it can be tested in seconds"
    script = tmp_path / notebook.name
    script.write_text(budget)
    environment = {**os.environ, "MPLBACKEND": "agg", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert list(tmp_path.glob("*.png")), "a notebook shows a picture"


def test_a_notebook_is_prose_and_code():
    """In jupytext's percent format: every cell begins with a marker, the first one is a title."""
    for notebook in NOTEBOOKS:
        cells = notebook.read_text().split("# %%")
        assert cells[0] == "", notebook
        assert cells[1].startswith(" [markdown]\n# # "), notebook
        for cell in cells[1:]:
            if cell.startswith(" [markdown]"):
                assert all(line.startswith("#") for line in cell.strip().split("\n")[1:]), (notebook, cell)


def test_the_api_reference_has_every_public_name():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    documented = re.findall(r"^::: video_ae\.(\w+)$", pages, flags=re.M)
    assert sorted(name for name in documented if name in video_ae.__all__) == sorted(video_ae.__all__)


def test_the_page_of_reliability_is_what_was_measured():
    """Catches a cell that was changed by hand, and a campaign that the page does not have."""
    rows = json.loads((ROOT / "docs" / "reliability.json").read_text())
    assert [row["name"] for row in rows] == [campaign.__name__ for campaign, _ in torture.CAMPAIGNS]
    assert (ROOT / "docs" / "reliability.md").read_text() == torture.page(rows)


def test_the_figures_of_the_readme_are_among_the_results():
    """Digit by digit. Catches a table that kept the figures of an earlier model."""
    section = (ROOT / "README.md").read_text().split("[start:results]")[1].split("[end:results]")[0]
    cells = {cell.strip() for line in section.splitlines() if line.startswith("|") for cell in line.split("|")}
    figures = re.findall(r"(?<![\d.,])(?:\d[\d,]*)?\.\d+|\d+,\d{3}", "\n".join(cells))
    results = set(re.findall(r"[\d.,]*\d", (ROOT / "docs" / "results.md").read_text()))
    assert len(figures) > 15
    assert set(figures) <= results, set(figures) - results


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = set()
        self.pictures_without_text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links |= {given[name] or "" for name in ("href", "src") if name in given}
        self.names |= {given[name] or "" for name in ("id", "name") if name in given}
        if tag == "img" and not given.get("alt"):
            self.pictures_without_text.append(given.get("src") or "")


@pytest.mark.timeout(600)  # the gallery trains two models
@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason='needs the extra docs: pip install -e ".[docs]"')
def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    """With its gallery. MkDocs checks links between Markdown pages; this one whatever the pages have in the end.

    Catches a link that is right on GitHub and wrong on the site, and a page that only works on a server.
    """
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's notice of what MkDocs 2 will break
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 20
    for path, page in pages.items():
        assert not page.pictures_without_text, path
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert aim.is_file(), (path, link)
            if parts.fragment and aim in pages:
                assert unquote(parts.fragment) in pages[aim].names, (path, link)
