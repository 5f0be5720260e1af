"""The optimiser beside AdamW and the singular value decomposition."""

import torch
from torch import nn

from video_ae.optimizer import Optimizer, orthogonal


def test_orthogonal_matrices_keep_their_directions():
    """The singular vectors of the input, singular values near 1, tall and wide; catches a wrong transposition."""
    for shape in ((3, 8, 20), (3, 20, 8)):
        matrices = torch.randn(shape, dtype=torch.float64)
        found = orthogonal(matrices)
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        values = left.mT @ found @ right.mT  # diagonal where the singular vectors are the same
        diagonal = values.diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(values, torch.diag_embed(diagonal))
        assert diagonal.min() > 0.6
        assert diagonal.max() < 1.3


def test_small_directions_in_float32_are_those_of_float64():
    """Singular values from 1 to 1e-4; catches an iteration on gram matrices that loses what is small in them."""
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(64, 64))[0], torch.linalg.qr(torch.randn(576, 64))[0]
    matrix = (left * torch.logspace(0, -4, 64)) @ right.mT
    expected = matrix.double()[None] / matrix.double().norm()
    for _ in range(5):  # as Jordan et al. write it
        gram = expected @ expected.mT
        expected = 3.4445 * expected + (-4.7750 * gram + 2.0315 * gram @ gram) @ expected
    torch.testing.assert_close(orthogonal(matrix[None]).double(), expected, rtol=0, atol=1e-4)


def test_all_but_kernels_are_stepped_by_adamw():
    """Weights and biases as AdamW steps them; kernels by as much per element as the rate says, decayed alike."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Linear(5, 4))
    reference = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Linear(5, 4))
    reference.load_state_dict(model.state_dict())
    theirs = torch.optim.AdamW(reference.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    ours = Optimizer(model, 0.01, 0.1)
    for _ in range(3):
        for mine, other in zip(model.parameters(), reference.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        before = model[0].weight.detach().clone()
        ours.step()
        theirs.step()
        step = model[0].weight.detach() - before * (1 - 0.01 * 0.1)
        assert 0.8 < step.square().mean().sqrt() / (0.4 * 0.01) < 1.1
        for name in ("0.bias", "1.weight", "1.bias"):
            torch.testing.assert_close(model.get_parameter(name), reference.get_parameter(name))
