"""Training steps as CUDA graphs do what they do kernel by kernel. Skipped where there is no GPU."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from video_ae import LSTMAutoencoder, ModelConfig, TrainConfig
from video_ae.commands import train
from video_ae.cuda_graphs import CudaGraphs
from video_ae.optimizer import Optimizer
from video_ae.training_step import train_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

SMALL = {"frame_shape": (1, 32, 32), "input_frames": 4, "future_frames": 3, "hidden_size": 16}
MODELS = {
    "conv": ModelConfig(**SMALL, cell="conv", patch_size=8, matching=True),
    "conditional": ModelConfig(**SMALL, layers=2, conditional=("future",)),
    "variational": ModelConfig(**SMALL, code_size=8, variational=True),
}


def trained(config: ModelConfig, training: TrainConfig, *, graphs: bool, steps: int = 4) -> list[dict[str, float]]:
    """The rows of the steps of a new model."""
    torch.manual_seed(0)
    model = LSTMAutoencoder(config).cuda()
    optimizer = Optimizer(model, 1e-3)
    recorded = CudaGraphs(model.parameters()) if graphs else None
    batches = torch.randint(0, 256, (steps, 5, 7, 1, 32, 32), dtype=torch.uint8, device="cuda")
    return [
        train_step(model, optimizer, clips, 1e-3, training, step, graphs=recorded)
        for step, clips in enumerate(batches, 1)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_trains_as_its_kernels_do(name):
    """Catches inputs that are not copied, gradients that add up, weights that were recorded and not read."""
    config = TrainConfig(amp="off")
    by_kernels, by_graph = (trained(MODELS[name], config, graphs=graphs) for graphs in (False, True))
    for expected, found in zip(by_kernels, by_graph, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)


def test_random_numbers_are_new_in_every_replay_and_those_of_the_step():
    """Catches noise that was recorded, and a resumed run, which records anew, that goes on otherwise."""
    config = TrainConfig(amp="off", noise=0.5)
    torch.manual_seed(0)
    model = LSTMAutoencoder(MODELS["conditional"]).cuda()
    clips = torch.randint(0, 256, (5, 7, 1, 32, 32), dtype=torch.uint8, device="cuda")

    def losses(graphs: CudaGraphs, steps: list[int]) -> list[float]:
        optimizer = torch.optim.SGD(model.parameters())
        return [train_step(model, optimizer, clips, 0.0, config, step, graphs=graphs)["loss"] for step in steps]

    whole, resumed = CudaGraphs(model.parameters()), CudaGraphs(model.parameters())
    first, second, again = losses(whole, [1, 2, 1])
    assert first != second
    assert again == first
    assert losses(resumed, [2]) == [second]


def test_a_resumed_run_on_a_gpu_is_an_uninterrupted_one_bit_for_bit(tmp_path, monkeypatch):
    """Catches random numbers, or kernels without --deterministic, that differ after the graphs were recorded anew."""
    flags = "--composite --image-size 32 --hidden-size 16 -b 8 --steps 6 --noise .1 --device cuda --deterministic"
    assert train.command([*flags.split(), "--output-dir", str(tmp_path / "whole")]) == 0
    calls = []

    def interrupting(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*arguments)

    monkeypatch.setattr("video_ae.training.train_step", interrupting)
    assert train.command([*flags.split(), "--output-dir", str(tmp_path / "run")]) == 128 + signal.SIGINT
    assert train.command(["--resume", "--output-dir", str(tmp_path / "run")]) == 0
    whole, resumed = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
