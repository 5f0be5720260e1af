"""Folders for the Hugging Face Hub: weights, config and a model card that is written from the run.

python -m video_ae hub runs/demo --out exported       # write the folder, send nothing
python -m video_ae hub exported --push USER/NAME      # upload its three files
python -m video_ae hub exported --push USER/NAME --revision v2    # to a branch of this name

Needs the extra `hub` and a token (`hf auth login`, or HF_TOKEN) for --push only.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..extras import import_extra
from ..shell import as_typed
from . import cli

CARD = "README.md"
_NAME = "USER/NAME"


def write_folder(source: Path | str, out: Path | str, repo_id: str = _NAME) -> None:
    """Write `config.json`, `model.safetensors` and a model card into the new folder `out`; all of them or none.

    source:  a run of train.py or what `LSTMAutoencoder.save_pretrained` wrote.
    repo_id: where the card says that the model is.

    Raises FileExistsError where `out` holds anything, and what `model_card` raises.
    """
    from ..pretrained import CONFIG, WEIGHTS, model_folder
    from ..report.card import model_card

    source, out = Path(source), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: not an empty folder; choose another --out")
    card = model_card(source, repo_id)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        partial = Path(place) / "folder"
        partial.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(model_folder(source) / name, partial / name)
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.replace(out)


def push_to_hub(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    api: Any = None,
) -> str:
    """Upload a model and its card, three files and nothing else, to the repository `repo_id`; returns its address.

    folder:   a run, a saved model, or what `write_folder` wrote, whose card is uploaded as it is now.
    private:  who creates the repository decides; one that exists must be private already.
    revision: a branch, made of the main one where it is not there (default: the main one).
    token:    (default: what `hf auth login` stored, or HF_TOKEN).
    api:      what stands for `huggingface_hub.HfApi`.

    Raises ImportError without the extra `hub`, ValueError where a private repository was asked for and a public one is
    there, and what `write_folder` raises.
    """
    from ..models import LSTMAutoencoder
    from ..pretrained import CONFIG, WEIGHTS

    if api is None:
        api = import_extra("huggingface_hub", "hub").HfApi(token=token)
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as place:
        if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS, CARD)):
            write_folder(folder, Path(place) / "model", repo_id)
            folder = Path(place) / "model"
        LSTMAutoencoder.from_pretrained(folder)  # what is damaged stays at home
        address = api.create_repo(repo_id, private=private or None, exist_ok=True)  # None: as its owner has set it
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id}: exists and is public; make it private on the Hub, or choose another name")
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            revision=revision,
            folder_path=folder,
            allow_patterns=[CONFIG, WEIGHTS, CARD],
            commit_message="Upload model and card",
        )
    return str(address)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = cli.command_parser("python -m video_ae hub", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help=as_typed("folder that train.py wrote, or a saved model"))
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a new folder")
    parser.add_argument("--push", metavar="USER/NAME", help="upload it to this repository")
    parser.add_argument("--revision", metavar="BRANCH", help="to this branch of it (default: main)")
    parser.add_argument("--private", action="store_true", help="the repository must not be public")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    arguments = parser.parse_args(words)
    if not arguments.out and not arguments.push:
        parser.error("nothing to do: say --out FOLDER, --push USER/NAME or both")
    if (arguments.private or arguments.revision) and not arguments.push:
        flag = "--private" if arguments.private else "--revision"
        parser.error(f"{flag} changes nothing without --push; leave it out")
    return arguments


def main(arguments: argparse.Namespace) -> None:
    if arguments.out:
        write_folder(arguments.run, arguments.out, arguments.push or _NAME)
        print(f"written  {arguments.out}: config.json, model.safetensors and {CARD}, which you may edit before --push")
    if arguments.push:
        source = arguments.out or arguments.run
        address = push_to_hub(source, arguments.push, private=arguments.private, revision=arguments.revision)
        print(f"pushed   {address}")


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)
