"""What people read first: the notebooks run, and the API reference has every public name.

`make docs` itself checks links and anchors (`strict` in mkdocs.yml).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import video_ae

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


def test_every_page_is_in_the_navigation():
    """Read as text, because a site is not built in the tests; catches a page that only a search would find."""
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", navigation)) == pages
