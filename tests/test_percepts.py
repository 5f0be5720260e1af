"""Percepts: the features that torchvision's own networks give, and those that others extracted, as they are."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from video_ae.commands.percepts import command as main
from video_ae.datasets.config import DataConfig
from video_ae.datasets.division import pieces_of
from video_ae.datasets.groups import divide
from video_ae.datasets.hmdb51 import official_parts
from video_ae.datasets.image_networks import (
    NETWORKS,
    NetworkPercepts,
    extract,
    load_network,
    network_inputs,
    optical_flow,
)
from video_ae.datasets.names import NO_PERCEPTS, PERCEPTS
from video_ae.datasets.percept_files import open_percepts, with_official
from video_ae.datasets.video_clips import VideoClips

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread():
    """On a busy machine the threads of a convolution wait for each other ten times as long as one computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def texture(height: int, width: int) -> np.ndarray:
    """Smooth grey noise (H, W) uint8, such as optical flow can follow."""
    noise = cv2.GaussianBlur(RANDOM.normal(size=(height, width)), (0, 0), 3)
    return np.rint(255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


def film(path: Path, frames: list[np.ndarray]) -> Path:
    """Write grey frames (H, W), the channels of which differ once they are BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        writer.write(np.stack([frame, frame // 2, 255 - frame], axis=-1))
    writer.release()
    return path


def test_features_are_those_of_torchvisions_network_and_preprocessing(tmp_path):
    """Catches BGR frames, another crop or scale, training mode, another layer; and facts that hide the weights."""
    path = film(tmp_path / "videos" / "a" / "x.avi", [texture(256, 320) for _ in range(5)])
    torch.manual_seed(1)
    network = torchvision.models.resnet50(weights=None).eval()
    weights = tmp_path / "resnet.safetensors"
    save_file(network.state_dict(), weights)
    out = tmp_path / "percepts"
    words = [str(tmp_path / "videos"), "--out", str(out), "--network", "resnet50", "--weights", str(weights)]
    assert main([*words, "--stride", "3", "--device", "cpu", "-b", "1"]) == 0

    capture = cv2.VideoCapture(str(path))
    frames = [capture.read()[1][..., ::-1].copy() for _ in range(5)][::3]
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    images = torch.stack([preset(torch.from_numpy(frame).permute(2, 0, 1)) for frame in frames])
    pooled = []
    network.avgpool.register_forward_hook(lambda module, given, result: pooled.append(result.flatten(1)))
    with torch.inference_mode():
        network(images)

    arrays = open_percepts(out)
    assert (arrays.videos[0].name, arrays.videos[0].shape, arrays.videos[0].dtype) == ("a/x", (2, 2048), "float16")
    torch.testing.assert_close(torch.from_numpy(arrays.array(0).astype(np.float32)), pooled[0], rtol=2e-3, atol=2e-3)
    assert pooled[0].std(dim=0).mean() > 1e-2  # the tolerance tells the two frames apart
    facts = arrays.facts
    assert facts["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (facts["weights"], facts["random"], facts["stride"]) == ("resnet.safetensors", False, 3)

    flow = load_network("resnet50", weights, "flow")
    assert torch.allclose(flow.conv1.weight, network.conv1.weight.mean(1, keepdim=True).expand(-1, 20, -1, -1))
    assert flow(torch.zeros(1, 20, 64, 64)).shape == (1, 2048)


def test_vgg16_ends_after_the_first_fully_connected_layer_and_its_relu():
    """The paper's fc6. Random weights are the same on every call, and take nothing from the caller's generator."""
    state = torch.random.get_rng_state()
    network = load_network("vgg16", None)
    assert torch.equal(torch.random.get_rng_state(), state)
    images = torch.rand(1, 3, 64, 64)
    fc6 = network.classifier[0]
    by_hand = (network.avgpool(network.features(images)).flatten(1) @ fc6.weight.T + fc6.bias).clamp(min=0)
    assert by_hand.shape == (1, 4096)
    torch.testing.assert_close(network(images), by_hand)


def test_flow_has_the_sign_and_scale_that_the_facts_state():
    """A picture that moves 3 pixels right and 2 up; then one that moves farther than is kept."""
    picture = texture(160, 200)
    moved = np.roll(picture, (-2, 3), axis=(0, 1))
    fields = np.stack(list(optical_flow([picture, moved, moved])))
    assert (fields.shape, fields.dtype) == ((2, 160, 200, 2), np.uint8)
    inside = fields[:, 30:-30, 30:-30].astype(float)
    assert np.abs(inside[0] / 255 * 40 - 20 - (3, -2)).mean() < 0.2
    assert np.abs(inside[1] - 128).max() <= 1
    far = next(optical_flow([picture, np.roll(picture, -26, axis=1)]))
    assert np.median(far[40:-40, 40:-40, 0]) == 0


def test_a_flow_input_is_ten_consecutive_fields_x_and_y_in_turn(tmp_path):
    """Catches windows that stride over fields, a last window that is lost, and x and y in blocks."""
    wide = texture(256, 400)
    path = film(tmp_path / "x.avi", [wide[:, 2 * t : 2 * t + 256] for t in range(14)])
    inputs = np.stack(list(network_inputs(path, "flow", stride=3)))
    assert inputs.shape == (2, 10, 2, 224, 224)  # 13 fields: windows from 0 and 3
    assert np.array_equal(inputs[1, :7], inputs[0, 3:])
    shift = inputs[..., 60:-60, 60:-60].astype(float).mean(axis=(-1, -2)) / 255 * 40 - 20
    assert np.abs(shift - (-2, 0)).max() < 0.3

    channels = extract(torch.nn.Flatten(), CPU, inputs, NETWORKS["resnet50"], "flow").reshape(2, 20, 224, 224)
    expected = (inputs.reshape(2, 20, 224, 224).astype(np.float32) - 128) / 255 / 0.226
    np.testing.assert_allclose(channels, expected, atol=2e-3)
    short = film(tmp_path / "short.avi", [wide[:, :256]] * 10)
    with pytest.raises(ValueError, match=r"short\.avi: 10 frames decode.*, expected at least 11"):
        list(network_inputs(short, "flow"))


def test_a_folder_becomes_percepts_and_the_first_process_speaks(tmp_path, monkeypatch, capsys):
    """Catches facts that differ between processes, and untrained networks that do not say so. See test_sharing.py."""
    for number in range(3):
        film(tmp_path / "videos" / "a" / f"v_a_g0{number}_c01.avi", [texture(64, 80)])
    (tmp_path / "videos" / "a" / "broken.avi").write_bytes(b"RIFF")
    words = [str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--network", "resnet50", "--device", "cpu"]
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert main([*words, "--random-weights", "--skip-unreadable"]) == 0
        output = capsys.readouterr()
        found = [text in output.out for text in ("RANDOM weights", "3 of 4 videos")]
        assert [*found, "left out a/broken" in output.err] == [rank == "0"] * 3
    arrays = open_percepts(tmp_path / "out")
    assert [(video.group, video.shape) for video in arrays.videos] == [(f"g0{n}", (1, 2048)) for n in range(3)]
    assert [name for name, _ in arrays.unreadable] == ["a/broken"]
    assert arrays.facts["random"] is True
    torch.manual_seed(7)  # which must not matter
    rows = NetworkPercepts("resnet50", None, device=CPU).rows(tmp_path / "videos" / "a" / "v_a_g02_c01.avi")
    assert np.array_equal(arrays.array(2), np.stack(list(rows)))

    assert main([*words, "--weights", "missing.pth"]) == 1
    assert capsys.readouterr().err == "error: missing.pth: no such file; expected torchvision's weights of resnet50\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of the arguments --weights --download --random-weights is required"),
        (["--download", "--random-weights"], "not allowed with"),
        (["--random-weights", "--stride", "0"], "expected a whole number of at least 1"),
        (["--network", "motion", "--download"], "are of vgg16 and resnet50: leave them out with --network motion"),
        (["--network", "efficientnet-lite0", "--stream", "flow"], "leave them out with --network efficientnet-lite0"),
    ],
)
def test_usage(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["videos", "--out", "percepts", *words])
    assert message in capsys.readouterr().err


def test_every_name_is_made_by_something():
    assert {NO_PERCEPTS, "motion", *NETWORKS} == set(PERCEPTS)


def test_motion_percepts_as_files_are_those_of_a_run(tmp_path, monkeypatch):
    """One extractor: what the command writes is what `--percepts motion` reads of the same videos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wide = texture(120, 200)
    film(tmp_path / "videos" / "a" / "x.avi", [wide[:, 2 * t : 2 * t + 160] for t in range(7)])
    words = [str(tmp_path / "videos"), "--out", str(tmp_path / "out"), "--network", "motion", "--stride", "2"]
    assert main(words) == 0
    written = open_percepts(tmp_path / "out")
    config = DataConfig("video-folder", data_dir=str(tmp_path / "videos"), percepts="motion", frame_stride=2)
    clips = config.open("all", 4)
    assert written.videos[0].shape == (4, 544)
    assert np.array_equal(clips[0][..., 0, 0], written.array(0).astype(np.float32))


def test_files_that_are_no_weights_are_named(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "wrapped.pth")
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:-40])
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"{path}: not torchvision's weights of resnet50"):
            load_network("resnet50", path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_network("resnet50", tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="NaN or exceed float16"):
        extract(torch.nn.Threshold(1e9, 1e9), CPU, np.zeros((1, 3, 2, 2), np.uint8), NETWORKS["vgg16"], "rgb")


def test_features_of_ucf101_that_others_extracted(real_data):
    """Counts of the official split 1 and no group on both sides of any line; the values are numpy's own."""
    folder = real_data / "ucf101_vgg16_feats"
    arrays = open_percepts(folder)
    assert len(arrays.videos) == 256
    assert len(arrays.class_names) == 8
    division = divide(arrays.videos)
    parts = {
        split: [index for index, _, _ in pieces_of(division, split)]
        for split in ("train", "validation", "development", "test")
    }
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 112,
        "validation": 32,
        "development": 144,
        "test": 112,
    }
    assert sorted(parts["train"] + parts["validation"]) == sorted(parts["development"])
    groups = {split: {arrays.videos[index].group for index in part} for split, part in parts.items()}
    assert not groups["train"] & groups["validation"]
    assert not groups["development"] & groups["test"]
    with np.load(folder / "Archery.npz") as archive:
        features, names, marks = archive["features"], archive["names"].tolist(), archive["split1"].tolist()
    for index, video in enumerate(arrays.videos):
        if video.label == "Archery":
            row = names.index(f"{video.name}.avi")
            assert np.array_equal(arrays.array(index), features[row])
            assert marks[row] == {"train": 1, "test": 2}[video.official]
    clips = VideoClips(arrays, parts["test"], 16, clips_per_video=1)
    assert clips[0].shape == (16, 4096, 1, 1)


def save_archive(folder: Path, name: str, **changed: np.ndarray | None) -> Path:
    names = np.array(["v_a_g01_c01.avi", "v_a_g02_c01.avi"])
    members = {"features": np.ones((2, 3, 4), np.float16), "names": names}
    np.savez_compressed(
        folder / name, **{key: value for key, value in (members | changed).items() if value is not None}
    )
    return folder / name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": np.full((2, 3, 4), np.nan, np.float32)}, "holds NaN"),
        ({"features": np.ones((2, 3, 4))}, "found features float64"),
        ({"features": np.ones((3, 4), np.float16)}, r"found features float16 \(3, 4\)"),
        ({"features": None}, "found names, expected features and names"),
        ({"names": np.array(["x"])}, r"found names <U1 \(1,\), expected 2 of text"),
        ({"names": np.array([{}, {}], object)}, "not a whole .npz file of plain arrays .*allow_pickle"),
        ({"split1": np.array([1, 0])}, "found split1"),
    ],
)
def test_archives_that_do_not_fit_are_named(tmp_path, changed, message):
    path = save_archive(tmp_path, "a.npz", **changed)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        open_percepts(tmp_path)


def test_an_archive_is_refused_by_its_header_before_it_is_read(tmp_path, monkeypatch):
    """1 GB of zeros is 1 MB on disk; a header may state more than is there."""
    path = save_archive(tmp_path, "a.npz", features=np.zeros((2, 2**10, 2**10), np.float16))
    monkeypatch.setattr("video_ae.datasets.percept_files.MAX_BYTES", 2**20)
    with pytest.raises(ValueError, match=f"{path}: .*features of 4,194,304 bytes"):
        open_percepts(tmp_path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=f"{path}: not a whole .npz"):
        open_percepts(tmp_path)


def test_a_folder_per_class_is_read_as_it_is_and_split_by_group(tmp_path):
    """Where nobody marked train and test, groups are set aside; what is no feature is named."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for group in range(1, 6):
            features = np.full((group + 3, 4), group, np.float32)
            np.save(tmp_path / label / f"v_{label}_g0{group}_c01.npy", features)
    arrays = open_percepts(tmp_path)
    assert [video.frames for video in arrays.videos] == [4, 5, 6, 7, 8] * 2
    assert np.array_equal(arrays.array(6), np.full((5, 4), 2, np.float32))
    groups = {
        part: {arrays.videos[index].group for index, _, _ in pieces} for part, pieces in divide(arrays.videos).items()
    }
    assert groups == {"train": {"g01", "g02", "g03"}, "validation": {"g04"}, "test": {"g05"}}
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "trainlist02.txt").write_text(
        "".join(f"a/v_a_g0{g}_c01.avi 1\nb/v_b_g0{g}_c01.avi 2\n" for g in (2, 3, 5))
    )
    (lists / "testlist02.txt").write_text("a/v_a_g04_c01.avi\n")
    listed = official_parts(lists, 2)
    names = {
        part: [arrays.videos[i].name for i, _, _ in pieces]
        for part, pieces in divide(with_official(arrays, listed).videos).items()
    }
    assert names == {
        "train": [f"{c}/v_{c}_g0{g}_c01" for c in "ab" for g in (2, 3)],
        "validation": [f"{c}/v_{c}_g05_c01" for c in "ab"],
        "test": ["a/v_a_g04_c01"],
    }
    with pytest.raises(ValueError, match="none of the 10 videos, such as a/v_a_g01_c01, is on the lists"):
        with_official(arrays, {"train": set(), "test": {"v_c_g01_c01.avi"}})

    path = tmp_path / "a" / "v_a_g09_c01.npy"
    np.save(path, np.full((5, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match=f"{path}: holds NaN"):
        open_percepts(tmp_path).array(5)
    np.save(path, np.ones((5, 4), np.int64))
    with pytest.raises(ValueError, match=rf"{path}: found int64 \(5, 4\)"):
        open_percepts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no features; expected"):
        open_percepts(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_percepts(tmp_path / "missing")
