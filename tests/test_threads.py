"""Threads that wait cheaply, and no more of them than there is time for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from video_ae.threads import cpu_quota, settle_threads

CORES = len(os.sched_getaffinity(0))


def control_group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(
    ("own", "groups", "expected"),
    [
        ("0::/a/b\n", {"a/b": {"cpu__max": "max 100000\n"}, "a": {"cpu__max": "150000 100000\n"}}, 1.5),
        ("0::/a\n", {"a": {"cpu__max": "50000 100000\n"}, "": {"cpu__max": "300000 100000\n"}}, 0.5),
        ("0::/a\n", {"a": {"cpu__max": "max 100000\n"}}, None),
        ("0::/\n", {}, None),
        (
            "4:memory:/m\n3:cpu,cpuacct:/j\n0::/\n",
            {"cpu,cpuacct/j": {"cpu__cfs_quota_us": "200000\n", "cpu__cfs_period_us": "100000\n"}},
            2.0,
        ),
        (
            "1:cpu:/j\n",
            {"cpu/j": {"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, "cpu": {"cpu__max": "x"}},
            None,
        ),
        ("1:cpuset:/\n", {"cpuset": {"cpu__max": "50000 100000\n"}}, None),
    ],
)
def test_the_quota_is_the_smallest_of_the_group_and_those_above(tmp_path, own, groups, expected):
    """Both versions of control groups: catches a container of which only the group above has a limit."""
    for folder, files in groups.items():
        control_group(tmp_path / "cgroup" / folder, **files)
    (tmp_path / "own").write_text(own)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == expected


def test_systems_without_control_groups_have_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "nowhere", tmp_path / "neither") is None


def settled(**environment: str) -> dict[str, str]:
    """The environment that torch is loaded in, in a process of its own."""
    code = "import video_ae, torch, os, json; print(json.dumps([dict(os.environ), torch.get_num_threads()]))"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP", "KMP"))}
    done = subprocess.run([sys.executable, "-c", code], env=own | environment, capture_output=True, check=True)
    found, threads = json.loads(done.stdout)
    return found | {"threads": threads}


def test_waiting_is_settled_before_torch_is_loaded():
    """Catches a setting that comes when OpenMP has read its own already."""
    found = settled()
    assert found["GOMP_SPINCOUNT"] == "1000"
    assert 1 <= found["threads"] <= CORES


def test_what_the_user_has_set_stays():
    found = settled(OMP_WAIT_POLICY="active", OMP_NUM_THREADS="1")
    assert "GOMP_SPINCOUNT" not in found
    assert found["threads"] == 1


def test_nothing_changes_once_torch_is_loaded():
    import torch  # noqa: F401

    environment: dict[str, str] = {}
    settle_threads(environment)
    assert environment == {}


def test_threads_are_no_more_than_the_quota(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("video_ae.threads.cpu_quota", lambda: 0.5)
    environment: dict[str, str] = {}
    settle_threads(environment)
    assert environment.get("OMP_NUM_THREADS", "1") == "1"
    assert ("OMP_NUM_THREADS" in environment) == (CORES > 1)
    chosen = {"OMP_NUM_THREADS": "9"}
    settle_threads(chosen)
    assert chosen["OMP_NUM_THREADS"] == "9"
