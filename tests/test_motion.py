import pytest
import torch
from torch.nn import functional

from video_ae.config import FUTURE, ModelConfig
from video_ae.models import Decoder, LSTMAutoencoder
from video_ae.motion import Motion
from video_ae.patches import frames_to_vectors, vectors_to_frames


def config(**changes) -> ModelConfig:
    return ModelConfig(**{"frame_shape": (2, 12, 16), "patch_size": 4, "cell": "conv", "hidden_size": 5} | changes)


def always(motion: Motion, mask: int, rows: int, columns: int) -> Motion:
    """`motion` whose pixels all take copy `mask` (0: own content), moved down by `rows` and right by `columns`."""
    with torch.no_grad():
        for parameter in motion.parameters():
            parameter.zero_()
        masks = motion.masks.bias.unflatten(0, (3, -1))
        masks[mask] = 100
        shifts = motion.shifts.bias.view(2, 2, -1)  # rows and columns, moves, shifts
        shifts[0, :, motion.reach - rows] = 100  # what lies above moves down
        shifts[1, :, motion.reach - columns] = 100
    return motion


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 0), (0, 2), (-2, 1)])
def test_a_move_shifts_the_whole_frame_across_patches_and_every_step_goes_on_from_there(rows, columns):
    """Against rolled frames; catches rows taken for columns, a wrong sign, seams between patches, mixed channels."""
    motion = always(Motion(5, config(output="linear")), 1, rows, columns)
    frame = torch.zeros(3, 1, 2, 12, 16)
    frame[..., 4:8, 5:9] = torch.rand(3, 1, 2, 4, 4)  # far enough from the borders for two steps
    before = frames_to_vectors(frame, 4).transpose(0, 1)  # (1, B, rows, columns, D)
    moved = motion(torch.rand(2, 3, 3, 4, 32), torch.rand(2, 3, 3, 4, 5), before)
    frames = vectors_to_frames(moved.transpose(0, 1), (2, 12, 16), 4)
    expected = torch.cat([frame.roll((step * rows, step * columns), (-2, -1)) for step in (1, 2)], dim=1)
    torch.testing.assert_close(frames, expected)


def test_a_pixel_mixes_what_its_filters_find_with_the_decoders_own_content():
    """Against a filter per pixel, computed one by one; catches masks or filters of another patch, channel or copy."""
    motion = Motion(5, config())
    torch.nn.init.normal_(motion.shifts.weight)
    torch.nn.init.normal_(motion.masks.weight)
    content, features, before = torch.randn(1, 2, 3, 4, 32), torch.randn(1, 2, 3, 4, 5), torch.rand(1, 2, 3, 4, 32)
    found = vectors_to_frames(motion(content, features, before).transpose(0, 1), (2, 12, 16), 4).sigmoid()[:, 0]
    padded = functional.pad(vectors_to_frames(before.transpose(0, 1), (2, 12, 16), 4)[:, 0], [2] * 4)
    own = vectors_to_frames(content.transpose(0, 1), (2, 12, 16), 4).sigmoid()[:, 0]
    for row, column in [(0, 0), (5, 9), (11, 15), (3, 4)]:
        known = features[0, :, row // 4, column // 4]  # (B, features)
        masks = motion.masks(known).view(2, 3, 4, 4)[:, :, row % 4, column % 4].softmax(dim=1)  # (B, 3)
        of_rows, of_columns = motion.shifts(known).view(2, 2, 2, 5).softmax(dim=-1).unbind(dim=1)  # (B, moves, 5)
        around = padded[:, :, row : row + 5, column : column + 5]  # (B, C, 5, 5)
        copies = torch.einsum("bmy,bmx,bcyx->bmc", of_rows, of_columns, around)
        expected = masks[:, :1] * own[:, :, row, column] + (masks[:, 1:, None] * copies).sum(dim=1)
        torch.testing.assert_close(found[:, :, row, column], expected, atol=2e-4, rtol=0)  # 1e-4 keeps logits finite


def test_frames_given_at_every_step_are_moved_one_step_each():
    """A conditional decoder under teacher forcing; against one step at a time."""
    motion = Motion(5, config())
    content, features, before = torch.randn(3, 2, 3, 4, 32), torch.randn(3, 2, 3, 4, 5), torch.rand(3, 2, 3, 4, 32)
    steps = [motion(*(part[t : t + 1] for part in (content, features, before))) for t in range(3)]
    torch.testing.assert_close(motion(content, features, before), torch.cat(steps))


@pytest.mark.parametrize("conditional", [(), (FUTURE,)])
def test_a_decoder_that_only_stays_repeats_the_last_frame(conditional):
    """Catches motion that starts from another frame than the last one, and steps that lose the path."""
    model = LSTMAutoencoder(config(frame_shape=(1, 16, 16), conditional=conditional)).eval()
    decoder = model.decoders[FUTURE]
    assert isinstance(decoder, Decoder)
    assert decoder.motion is not None
    always(decoder.motion, 2, 0, 0)
    clips = torch.rand(2, 4, 1, 16, 16)
    torch.testing.assert_close(model.predict(clips, 3), clips[:, -1:].expand(-1, 3, -1, -1, -1), atol=4e-4, rtol=0)


def test_black_and_white_frames_have_finite_outputs_and_gradients():
    motion = always(Motion(5, config()), 1, 0, 0)
    before = torch.randint(0, 2, (1, 2, 3, 4, 32)).float()
    outputs = motion(torch.full((2, 2, 3, 4, 32), 200.0), torch.rand(2, 2, 3, 4, 5), before)
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in motion.parameters() if parameter.grad is not None)
