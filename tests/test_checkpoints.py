"""Checkpoints under damage, kills and faults: a small seeded sample of `make torture`, and what it does not ask."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.torture import checkpoints, faults, kills
from benchmarks.torture.outcome import Outcome
from video_ae import LSTMAutoencoder, ModelConfig
from video_ae.checkpoint import Checkpoints, Progress
from video_ae.datasets.batches import load_batches, training_indices
from video_ae.datasets.config import DataConfig
from video_ae.optimizer import Optimizer
from video_ae.pretrained import save_model
from video_ae.run_folder import RunFolder
from video_ae.tensor_files import check_seal, read_metadata, write_tensors

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("campaign", "count"),
    [
        (checkpoints.resume_at_every_step, 4),
        (checkpoints.bit_flips, 45),
        (checkpoints.truncations, 15),
        (checkpoints.zeroed_pages, 15),
        (checkpoints.missing_and_swapped_files, 100),
    ],
)
def test_a_sample_of_the_torture(campaign, count, tmp_path):
    outcome: Outcome = campaign(count, 0, tmp_path)
    assert outcome.tried
    assert not outcome.failures


@pytest.mark.parametrize(
    ("campaign", "count"),
    [
        (kills.every_system_call, 12),
        (kills.random_sigkills, 2),
        (kills.random_sigterms, 1),
        (faults.not_finite, 5),
        (faults.second_process, 1),
        (faults.worker_kills, 1),
        (faults.worker_hangs, 1),
        (faults.disk_full, 1),
        (faults.read_only_folder, 1),
    ],
)
def test_a_sample_of_the_torture_in_other_processes(campaign, count, tmp_path):
    """These fork, which this process cannot: it has OpenMP threads."""
    command = [sys.executable, "-m", "benchmarks.torture", "--only", campaign.__name__, "--count", str(count)]
    command += ["--results", str(tmp_path / "results.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "needs root" in done.stderr or "does not let processes be traced" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["tried"]
    assert f"`{campaign.__name__}`" in (tmp_path / "results.md").read_text()


def test_the_campaigns_notice_what_is_wrong(tmp_path):
    """A campaign that never fails proves nothing: a flip that nobody reports, and a run that learnt something else."""
    checkpoints.train_kind("composite", tmp_path / "one", seed=0)
    shutil.copytree(tmp_path / "one", tmp_path / "same")
    assert checkpoints.difference(tmp_path / "one", tmp_path / "same") is None
    assert not checkpoints._detected(tmp_path / "same", tmp_path / "same" / "checkpoints" / "last")
    checkpoints.train_kind("composite", tmp_path / "other", seed=1)
    assert "model.safetensors" in (checkpoints.difference(tmp_path / "one", tmp_path / "other") or "")


@pytest.fixture
def saved(tmp_path) -> tuple[Checkpoints, LSTMAutoencoder, Optimizer]:
    """Three checkpoints were saved; the first is pruned."""
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=3))
    optimizer = Optimizer(model, 1e-3)
    run = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        run.save(model, optimizer, Progress(step=step), best=step == 2)
    return run, model, optimizer


def test_a_copy_that_somebody_put_beside_the_checkpoints_stays(saved):
    """`step-000002-mine` was removed with the checkpoints that are no longer needed."""
    run, model, optimizer = saved
    mine = run.folder / "step-000002-mine"
    shutil.copytree(run.folder / "step-000002", mine)
    run.save(model, optimizer, Progress(step=4), best=True)
    run.save(model, optimizer, Progress(step=5), best=False)
    assert sorted(place.name for place in run.folder.glob("step-*")) == [
        "step-000002-mine",
        "step-000004",
        "step-000005",
    ]
    assert len(list(mine.iterdir())) > 3
    assert run.newest_valid() == "step-000005"


def test_without_a_valid_checkpoint_a_run_is_refused_and_nothing_removed(saved):
    run, _, _ = saved
    places = sorted(run.folder.glob("step-*"))
    assert [place.name for place in places] == ["step-000002", "step-000003"]
    for place in places:
        (place / "optimizer.safetensors").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"no valid checkpoint: .*step-000003.*step-000002.*nothing was removed"
    ) as told:
        run.newest_valid()
    assert "\n" not in str(told.value)
    assert sorted(run.folder.glob("step-*")) == places


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path):
    run = RunFolder(tmp_path / "run")
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=3))
    run.create({"model": model.config.__dict__, "data": {}, "training": {}})
    run.checkpoints.save(model, Optimizer(model, 1e-3), Progress(step=1), best=True)
    other = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=4, layers=2))
    with pytest.raises(ValueError, match="hidden_size 3, not 4; layers 1, not 2"):
        run.checkpoints.load("step-000001", other, Optimizer(other, 1e-3))
    run.close()


def test_random_generators_go_on_where_they_were(saved):
    run, model, optimizer = saved
    run.save(model, optimizer, Progress(step=4), best=False)
    expected = torch.rand(3)
    torch.manual_seed(99)
    run.load("step-000004", model, optimizer)
    assert torch.equal(torch.rand(3), expected)


def test_weights_that_are_not_finite_are_not_saved(saved):
    """After SIGTERM nothing is validated: the save itself must look."""
    run, model, optimizer = saved
    with torch.no_grad():
        model.decoders["future"].readout.bias[0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"step 4: decoders.future.readout.bias is not finite"):
        run.save(model, optimizer, Progress(step=4), best=False)
    assert run.newest_valid() == "step-000003"


def test_sums_are_those_of_sha256sum(saved):
    """Independent reference: Python's own hashlib over what `sha256sum -c` would read."""
    import hashlib

    run, _, _ = saved
    for line in (run.folder / "step-000003" / "SHA256SUMS").read_text().splitlines():
        stored, name = line.split("  ")
        assert hashlib.sha256((run.folder / "step-000003" / name).read_bytes()).hexdigest() == stored


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.float64])
def test_files_are_what_the_library_reads(dtype, tmp_path):
    """Catches a wrong offset or type name; the reference is the library's own reader, and its writer's mode is not."""
    tensors = {"b": torch.arange(6).reshape(2, 3).T.to(dtype), "a": torch.tensor(1).to(dtype), "f": torch.rand(3)}
    tensors["empty"] = torch.zeros(0, 2)
    write_tensors(tmp_path / "file", tensors, {"sha256": "", "format": "pt"})
    check_seal(tmp_path / "file")
    found = load_file(tmp_path / "file")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_models_without_a_seal_load_and_a_config_of_another_model_does_not(tmp_path):
    model = LSTMAutoencoder(ModelConfig(frame_shape=(1, 4, 4), hidden_size=3))
    save_model(model, tmp_path)
    assert read_metadata(tmp_path / "model.safetensors").keys() == {"format", "sha256", "config_sha256"}
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"output": "linear"}))
    with pytest.raises(ValueError, match=r"config.json: not the one that model.safetensors was saved with"):
        LSTMAutoencoder.from_pretrained(tmp_path)
    save_file(model.state_dict(), tmp_path / "model.safetensors")  # as another program would
    assert LSTMAutoencoder.from_pretrained(tmp_path).config.output == "linear"


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_depend_on_nothing_but_seed_step_and_rank(workers):
    """Catches readers that share a random generator, or an order that depends on which of them is first."""
    data = DataConfig().changed_by({"image_size": 28, "num_digits": 1})

    def batches(first_step: int, workers: int) -> list[torch.Tensor]:
        clips = data.open("train", 4, seed=7)
        indices = training_indices(clips, 3, seed=7, first_step=first_step)
        found = load_batches(clips, indices, workers=workers)
        return [next(found) for _ in range(3)]

    before, threads = torch.get_rng_state(), torch.get_num_threads()
    expected = [batch for step in (0, 3) for batch in batches(step, 0)]
    try:
        torch.set_num_threads(2)
        found = batches(0, workers) + batches(3, workers)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
