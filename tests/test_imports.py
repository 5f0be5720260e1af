"""Which module imports which: only downwards, without circles, whether at the top of a module or in a function."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from video_ae.datasets.names import DATASETS

ROOT = Path(__file__).parent.parent


def modules_of(root: Path) -> dict[str, Path]:
    """The files of the package by the full names of their modules, those of `datasets/` too."""
    files = [(path, root / "video_ae") for path in (root / "video_ae").rglob("*.py")]
    files += [(path, root / "datasets") for path in (root / "datasets").rglob("*.py")]
    above = {"video_ae": ("video_ae",), "datasets": ("video_ae", "datasets")}
    found = {}
    for path, folder in files:
        words = (*above[folder.name], *path.relative_to(folder).with_suffix("").parts)
        found[".".join(words).removesuffix(".__init__")] = path
    return found


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports below `node`, but for those of `if TYPE_CHECKING`, which nothing carries out."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    unread = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else []
    for child in ast.iter_child_nodes(node):
        if child not in unread:
            yield from statements(child)


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    text = path.read_text()
    found = set()
    for statement in statements(ast.parse(text)):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        above = package[: len(package) - statement.level + 1] if statement.level else []
        base = ".".join([*above, *(statement.module or "").split(".")]).removesuffix(".")
        names = [f"{base}.{alias.name}" for alias in statement.names]
        found |= {each if each in modules else base for each in names}  # `from .x import name`: of module x
    return {each for each in found if each in modules and each != name}


def graph_of(root: Path) -> dict[str, set[str]]:
    modules = modules_of(root)
    return {name: imports_of(name, path, modules) for name, path in modules.items()}


def test_no_module_imports_itself_by_way_of_others():
    graph = graph_of(ROOT)
    graph["video_ae.datasets.config"] |= {f"video_ae.datasets.{module}" for module in DATASETS.values()}  # by name
    TopologicalSorter(graph).prepare()


def test_circles_in_functions_and_by_way_of_packages_are_found(tmp_path):
    package = tmp_path / "video_ae" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from . import a\n")
    (package / "a.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import b\n")
    (package.parent / "b.py").write_text("def later():\n    from .inner.a import name\n")
    TopologicalSorter(graph_of(tmp_path)).prepare()
    (package / "a.py").write_text("class A:\n    def later(self):\n        import video_ae.b\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of(tmp_path)).prepare()
