"""Models of the Hugging Face Hub."""

from pathlib import Path

from .checkpoint import CONFIG, WEIGHTS
from .extras import import_extra


def download(repo_id: str) -> Path:
    """The folder with config and weights of the repository `repo_id`, in the user's cache of huggingface_hub.

    Raises ImportError without the extra `hub`.
    """
    huggingface_hub = import_extra("huggingface_hub", "hub")
    return Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=[CONFIG, WEIGHTS]))
