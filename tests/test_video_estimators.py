"""Videos for scikit-learn: lists of files and of arrays, in its pipelines and searches."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline

from video_ae import VideoAutoencoder, VideoClassifier
from video_ae.datasets.motion_percepts import motion_percepts
from video_ae.datasets.videos import video_frames

SMALL = {"input_frames": 6, "future_frames": 2, "hidden_size": 16, "steps": 30, "batch_size": 8, "random_state": 0}


def moving(direction: int, seed: int, frames: int = 16) -> np.ndarray:
    """A bright square that moves to the right or to the left over noise, (T, 48, 64, 3)."""
    random = np.random.default_rng(seed)
    video = random.integers(0, 60, (1, 48, 64, 3), dtype=np.uint8).repeat(frames, axis=0)
    for t in range(frames):
        x = 8 + 2 * t if direction > 0 else 48 - 2 * t
        video[t, 16:32, x : x + 12] = 220
    return video


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of twelve videos, and where each goes."""
    folder = tmp_path_factory.mktemp("videos")
    environment = pytest.MonkeyPatch()
    environment.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    paths, labels = [], []
    for number in range(12):
        direction = 1 if number % 2 else -1
        paths.append(folder / f"{number:02d}.avi")
        writer = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
        for frame in moving(direction, number):
            writer.write(frame)
        writer.release()
        labels.append("right" if direction > 0 else "left")
    yield paths, labels
    environment.undo()


def test_codes_are_means_over_clips_of_what_is_seen_in_the_frames(files):
    """By hand: motion features of the frames, cut into clips, the last one at the end, each encoded, averaged."""
    paths, _ = files
    model = VideoAutoencoder("motion", **SMALL).fit(paths)
    codes = model.transform(paths[:2])
    assert codes.shape == (2, 16)
    for path, code in zip(paths[:2], codes, strict=True):
        rows = torch.from_numpy(np.stack(list(motion_percepts(video_frames(path, grey=True)))).astype(np.float32))
        starts = [0, 6, len(rows) - 6]
        with torch.no_grad():
            expected = torch.cat([model.model_.encode(rows[None, s : s + 6]) for s in starts]).mean(dim=0)
        np.testing.assert_allclose(code, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert list(model.get_feature_names_out())[:2] == ["code0", "code1"]
    np.testing.assert_array_equal(clone(model).fit(paths).transform(paths[:2]), codes)


def test_a_classifier_knows_where_things_move(files):
    """In cross-validation, so that it is asked about videos that neither part of it has learnt from."""
    paths, labels = files
    classifier = VideoClassifier(VideoAutoencoder("motion", **SMALL), steps=20, random_state=0)
    assert cross_val_score(classifier, paths, labels, cv=3).tolist() == [1, 1, 1]
    fitted = classifier.fit(paths, labels)
    assert fitted.classes_.tolist() == ["left", "right"]
    scores = fitted.predict_proba(paths)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert fitted.predict(paths).tolist() == labels
    with pytest.raises(ValueError, match="found 1 labels of 12 videos"):
        classifier.fit(paths, ["left"])


def test_codes_in_a_pipeline_and_a_search(files):
    paths, labels = files
    pipeline = make_pipeline(VideoAutoencoder("motion", **SMALL), LogisticRegression())
    search = GridSearchCV(pipeline, {"videoautoencoder__hidden_size": [4, 16]}, cv=2)
    assert search.fit(paths, labels).predict(paths).tolist() == labels


def test_numbers_as_labels_come_back_in_their_order():
    """Catches classes sorted as text, 10 before 9."""
    random = np.random.default_rng(0)
    labels = np.array([9, 10, 9, 10, 9, 10])
    videos = [random.normal(10.0 * (label == 10), 1, (12, 5)).astype(np.float32) for label in labels]
    classifier = VideoClassifier(VideoAutoencoder(**SMALL), steps=20, random_state=0).fit(videos, labels)
    assert classifier.classes_.tolist() == [9, 10]
    assert classifier.predict(videos).tolist() == labels.tolist()


def test_frames_as_arrays_are_read_as_they_are(files):
    paths, _ = files
    arrays = [moving(1, seed)[:, :, :48] for seed in range(3)]
    model = VideoAutoencoder("none", **(SMALL | {"steps": 2})).fit(arrays)
    assert model.model_.config.frame_shape == (3, 48, 48)
    assert model.transform(arrays).shape == (3, 16)
    pixels = VideoAutoencoder("none", image_size=16, grey=True, **(SMALL | {"steps": 2})).fit(paths)
    assert pixels.model_.config.frame_shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ("folder", "found the path folder, expected a list of paths"),
        ([], "found no videos"),
        (["missing.avi"], "missing.avi: no such file; 1 of 1 are missing"),
        ([np.zeros((9, 8), np.float32), np.zeros((9, 8, 8, 3), np.uint8)], r"video \d: found ndarray"),
        ([np.zeros((9, 8, 8, 3))], r"video 0: found ndarray, float64 \(9, 8, 8, 3\); expected"),
        ([np.zeros((5, 8), np.float32)], "0: found 5 frames, expected at least 8"),
        ([np.zeros((9, 8)), np.full((9, 8), np.nan)], "video 1: found NaN .* in 1 of 2 videos"),
        ([np.full((9, 8), 1e300)], "video 0: found NaN or values that float32 cannot hold"),
    ],
)
def test_what_is_no_list_of_videos_is_named(videos, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        VideoAutoencoder(**SMALL).fit(videos)


def test_percepts_of_no_name_are_refused(files):
    with pytest.raises(ValueError, match=r"percepts 'mottion': expected one of .*motion"):
        VideoAutoencoder("mottion", **SMALL).fit(files[0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1.0, np.nan, 2.0, 1.0], "label 1: found nan"),
        ([1.5, 1.0, 2.5, 1.0], "Unknown label type: continuous"),
        (["a", None, "b", "a"], "label 1: found None"),
        (["a", "a", "a", "a"], "found the label a alone, expected at least two"),
    ],
)
def test_what_is_no_class_is_no_label(labels, message):
    """Catches a class called nan; and that labels are looked at after the autoencoder has learnt."""
    videos = [np.zeros((2, 5), np.float32)] * 4  # too short for the autoencoder
    with pytest.raises(ValueError, match=message):
        VideoClassifier(VideoAutoencoder(**SMALL)).fit(videos, labels)


def test_a_missing_number_is_no_class():
    """Catches scores of NaN, of which the first class is the best."""
    videos = [np.random.default_rng(label).normal(10.0 * label, 1, (12, 5)) for label in (0, 1, 0, 1)]
    classifier = VideoClassifier(VideoAutoencoder(**SMALL), steps=2, random_state=0).fit(videos, [0, 1, 0, 1])
    videos[3][5, 2] = np.nan
    with pytest.raises(ValueError, match="video 3: found NaN"):
        classifier.predict(videos)


def test_frames_of_any_size_find_their_patches():
    """Catches a patch size that nobody can choose: 8 pixels divide neither 20 nor 28."""
    videos = [moving(1, seed)[:, :20, :28] for seed in range(2)]
    model = VideoAutoencoder(**(SMALL | {"steps": 2})).fit(videos)
    assert model.model_.config.patch_size == 4
    assert model.transform(videos).shape == (2, 16)


def test_a_frozen_autoencoder_is_not_trained_again(files):
    """In cross-validation, which clones: as the documentation says."""
    paths, labels = files
    autoencoder = VideoAutoencoder("motion", **SMALL).fit(paths)
    classifier = VideoClassifier(FrozenEstimator(autoencoder), steps=20, random_state=0)
    assert clone(classifier).fit(paths, labels).autoencoder_.model_ is autoencoder.model_
    assert cross_val_score(classifier, paths, labels, cv=2).tolist() == [1, 1]


def test_people_who_were_never_seen(real_data, monkeypatch, tmp_path):
    """Weizmann, leave one person out: who waves is told from who jumps by the motion of six people."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = sorted((real_data / "weizmann").glob("*/*.avi"))
    labels = [path.parent.name for path in paths]
    people = [path.stem.partition("_")[0] for path in paths]
    how = {"input_frames": 10, "future_frames": 5, "hidden_size": 64, "steps": 60, "random_state": 0}
    classifier = VideoClassifier(FrozenEstimator(VideoAutoencoder("motion", **how).fit(paths)), random_state=0)
    scores = cross_val_score(classifier, paths, labels, groups=people, cv=LeaveOneGroupOut())
    assert scores.mean() > 0.7
