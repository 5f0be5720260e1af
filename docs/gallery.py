"""The gallery of the site: runs the code on docs/gallery.md, and adds the files that the page shows.

A hook of MkDocs (`hooks` in mkdocs.yml). So what the page says was done is what was done, with the code of this
checkout, and a command that no longer works ends the build.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

_PAGE = Path(__file__).parent / "gallery.md"
_CODE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"\]\(gallery/([^)]+)\)")
_FOLDER = tempfile.TemporaryDirectory(prefix="gallery-")


def on_startup(**_: Any) -> None:
    """Once for each `mkdocs build` or `mkdocs serve`: half a minute on one core."""
    for language, code in _CODE.findall(_PAGE.read_text()):
        for words in _commands(language, code):
            _run(words)


def on_files(files: Files, config: Any) -> Files:
    for path in dict.fromkeys(_SHOWN.findall(_PAGE.read_text())):
        source = Path(_FOLDER.name, path)
        if not source.is_file():
            raise PluginError(f"docs/gallery.md shows gallery/{path}, which none of its commands wrote")
        files.append(File.generated(config, f"gallery/{path}", abs_src_path=str(source)))
    return files


def _commands(language: str, code: str) -> list[list[str]]:
    """Arguments of Python for each command of a block."""
    if language == "python":
        return [["-c", code]]
    lines = code.replace("\\\n", " ").splitlines()
    return [["-m", *shlex.split(line.replace("video-ae", "video_ae", 1))] for line in lines]


def _run(words: list[str]) -> None:
    """In the folder of the gallery, on the CPU, with a cache of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(_PAGE.parents[1]), *sys.path]))}
    environment |= {"XDG_CACHE_HOME": _FOLDER.name, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *words], cwd=_FOLDER.name, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PluginError(f"docs/gallery.md: {' '.join(words).splitlines()[0]} failed: {done.stderr.strip()}")
