"""The cache of decoded videos: what is in it is what was decoded, once per content, whatever happens meanwhile."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from video_ae.datasets.config import DataConfig
from video_ae.datasets.video_cache import VideoCache
from video_ae.datasets.videos import Video

SETTINGS = {"image_size": 4}


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "video_ae" / "videos"


class Films:
    """Files of text; decoded, each is as many frames as it has letters, and counted."""

    def __init__(self, root: Path) -> None:
        self.root, self.decoded = root, list[str]()
        root.mkdir(exist_ok=True)

    def write(self, **content: str) -> list[Video]:
        for name, text in content.items():
            (self.root / name).write_text(text)
        return self.videos()

    def videos(self) -> list[Video]:
        return [Video(path, path.name, "a", path.name) for path in sorted(self.root.iterdir())]

    def rows(self, video: Video, content: str) -> Iterator[np.ndarray]:
        self.decoded.append(video.name)
        yield from self.expected(video)

    @staticmethod
    def expected(video: Video) -> np.ndarray:
        return np.repeat(np.frombuffer(video.path.read_bytes(), np.uint8), 12).reshape(-1, 2, 2, 3)

    def check(self, *, decodes: int, **options: object) -> None:
        """All arrays are right, and so many videos were decoded for it."""
        self.decoded.clear()
        videos = self.videos()
        arrays = VideoCache(SETTINGS).decode(videos, self.rows, **options)
        assert [record.name for record in arrays.videos] == [video.name for video in videos]
        for index, video in enumerate(videos):
            np.testing.assert_array_equal(arrays.array(index), self.expected(video))
        assert len(self.decoded) == decodes, self.decoded


def test_a_file_is_decoded_once_whatever_it_is_called_and_where(tmp_path, cache_home):
    """New, touched, renamed, moved, copied, changed and deleted files; other settings are another folder."""
    films = Films(tmp_path / "films")
    films.write(x="abc", y="defg", z="h")
    films.check(decodes=3)
    films.check(decodes=0)
    films.write(new="ijk")
    films.check(decodes=1)
    os.utime(films.root / "x", ns=(1, 1))
    (films.root / "y").rename(films.root / "renamed")
    shutil.copy(films.root / "z", films.root / "copy")
    films.check(decodes=0)
    films.write(x="xyz")
    films.check(decodes=1)
    (films.root / "z").unlink()
    films.check(decodes=0)
    films.root.rename(tmp_path / "moved")
    films.root = tmp_path / "moved"
    films.check(decodes=0)
    assert len(list(cache_home.glob("*/arrays/*.npy"))) == 5
    VideoCache({"image_size": 8}).decode(films.videos(), films.rows)
    assert len(films.decoded) == 4
    assert [json.loads(path.read_text())["image_size"] for path in sorted(cache_home.glob("*/settings.json"))] in (
        [4, 8],
        [8, 4],
    )


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    films = Films(tmp_path / "films")
    arrays = VideoCache(SETTINGS).decode(films.write(x="abc", y="abc", z="d"), films.rows)
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", as in the standard
    assert [record.fingerprint == known for record in arrays.videos] == [True, True, False]


def test_damage_in_the_cache_is_noticed_and_mended(tmp_path, cache_home):
    films = Films(tmp_path / "films")
    films.write(x="abc", y="defg")
    films.check(decodes=2)
    first, second = sorted(cache_home.glob("*/arrays/*.npy"))
    first.write_bytes(first.read_bytes()[:-1])
    films.check(decodes=1)
    second.unlink()
    films.check(decodes=1)
    index = next(cache_home.glob("*/index.json"))
    for content in ("", "{", "[]", '{"files": 1, "arrays": {}}', '{"files": {"x": [1]}, "arrays": {}}'):
        index.write_text(content)
        films.check(decodes=0)  # whole arrays are known by their names
    index.write_text(json.dumps({"files": json.loads(index.read_text())["files"], "arrays": {}}))
    first.write_bytes(b"")
    films.check(decodes=1)


def test_arrays_of_too_few_rows_are_made_anew(tmp_path):
    """As many patches of each video are cut as there must be; more than that do no harm."""
    films = Films(tmp_path / "films")
    films.write(x="abc")
    films.check(decodes=1, least_rows=lambda _: 3)
    films.check(decodes=0, least_rows=lambda _: 2)
    films.check(decodes=1, least_rows=lambda _: 4)


def test_what_was_decoded_stays_where_a_video_is_bad(tmp_path, cache_home):
    films = Films(tmp_path / "films")
    videos = films.write(**{f"v{i}": f"{i}" * 5 for i in range(20)})

    def broken(video: Video, content: str) -> Iterator[np.ndarray]:
        if video.name == "v13":
            raise ValueError(f"{video.path}: cut off")
        yield from films.rows(video, content)

    with pytest.raises(ValueError, match=r"^v13: .*/v13: cut off; --skip-unreadable leaves such videos out"):
        VideoCache(SETTINGS).decode(videos, broken)
    kept = len(list(cache_home.rglob("*.npy")))
    films.decoded.clear()
    arrays = VideoCache(SETTINGS).decode(videos, broken, skip_unreadable=True)
    assert arrays.unreadable == [("v13", f"{films.root / 'v13'}: cut off")]
    assert [record.name for record in arrays.videos] == [video.name for video in videos if video.name != "v13"]
    assert len(films.decoded) == 19 - kept
    films.check(decodes=1)


def test_a_file_that_cannot_be_read_is_a_bad_video(tmp_path):
    films = Films(tmp_path / "films")
    videos = [*films.write(x="abc"), Video(films.root / "gone", "gone", "a", "g")]
    with pytest.raises(ValueError, match=r"^gone: .*No such file .*--skip-unreadable"):
        VideoCache(SETTINGS).decode(videos, films.rows)
    arrays = VideoCache(SETTINGS).decode(videos, films.rows, skip_unreadable=True)
    assert ([name for name, _ in arrays.unreadable], len(arrays.videos)) == (["gone"], 1)


def test_a_full_disk_is_said_with_what_is_needed_and_leaves_no_part(tmp_path, cache_home, capsys):
    """A limit on the size of files stands for the disk; what was decoded before stays."""
    films = Films(tmp_path / "films")
    VideoCache(SETTINGS).decode(films.write(small="abc"), films.rows)
    videos = films.write(large="x" * 20_000, other="x" * 20_001)
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            OSError, match=rf"^{cache_home}/\w+: no space left \(File too large, .* about 1 MB\); .*XDG_CACHE_HOME"
        ):
            VideoCache(SETTINGS).decode(videos, films.rows, expected_bytes=lambda _: 500_000, skip_unreadable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "decoding 2 videos into" in (said := capsys.readouterr().err)
    assert ", about 1 MB" in said
    assert not list(cache_home.rglob("*.partial"))
    films.check(decodes=2)


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    films = Films(tmp_path / "films")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"/file/.*: cannot be written \(Not a directory\); .* XDG_CACHE_HOME") as error:
        VideoCache(SETTINGS).decode(films.write(x="abc"), films.rows)
    assert error.value.errno != errno.ENOENT
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(OSError, match=r"no home folder .*XDG_CACHE_HOME"):
        VideoCache(SETTINGS)


def test_a_full_cache_may_be_read_only(tmp_path, cache_home):
    films = Films(tmp_path / "films")
    films.write(x="abc")
    films.check(decodes=1)
    before = {path: path.stat().st_mtime_ns for path in cache_home.rglob("*")}
    films.check(decodes=0)
    assert {path: path.stat().st_mtime_ns for path in cache_home.rglob("*")} == before


def test_ctrl_c_ends_soon_and_keeps_what_is_done(tmp_path, cache_home):
    """Threads that go on decoding, or a whole array that is decoded again."""
    films = Films(tmp_path / "films")
    videos = films.write(short="abc", long="x" * 5)

    def slow(video: Video, content: str) -> Iterator[np.ndarray]:
        for row in films.rows(video, content):
            while video.name == "long" and not pressed.is_set():
                time.sleep(0.001)
            yield row

    pressed = threading.Event()

    def press() -> None:
        while not list(cache_home.rglob("*.npy")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        pressed.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            VideoCache(SETTINGS).decode(videos, slow)
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)
    assert not list(cache_home.rglob("*.partial"))
    films.decoded.clear()
    films.check(decodes=1)


def test_processes_that_decode_at_once_do_not_disturb_each_other(tmp_path, cache_home):
    """On the same videos and on others; each has right arrays, and what an index lost is found out without decoding."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from test_video_cache import Films\n"
        "from video_ae.datasets.video_cache import VideoCache\n"
        "for root in sys.argv[1:]:\n"
        "    films = Films(Path(root))\n"
        "    arrays = VideoCache({'image_size': 4}).decode(films.videos(), films.rows)\n"
        "    assert all((arrays.array(i) == films.expected(v)).all() for i, v in enumerate(films.videos()))\n"
    )
    folders = [Films(tmp_path / name) for name in ("one", "two", "three")]
    for number, films in enumerate(folders):
        films.write(**{f"v{i}": f"{number}{i}" * 50 for i in range(100)})
    roots = [str(films.root) for films in folders]
    running = [
        subprocess.Popen([sys.executable, "-c", script, *some], env=os.environ | {"PYTHONPATH": "."})
        for some in (roots[:2], [roots[0], roots[2]])
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert len(list(cache_home.glob("*/arrays/*.npy"))) == 300
    assert not list(cache_home.rglob("*.partial"))
    for films in folders:
        films.check(decodes=0)


def test_patches_of_a_grown_folder_are_those_from_before(tmp_path, monkeypatch):
    """Their number per video depends on how many videos there are; that must not cut all of them anew."""
    from test_video_folder import write

    monkeypatch.setattr("video_ae.datasets.decoding._PATCHES", 12)
    for number in range(3):
        write(tmp_path / "films" / "a" / f"{number}.avi", 8)
    config = DataConfig("video-patches", str(tmp_path / "films"), image_size=16)
    before = config.source.arrays(config, 4)
    assert [record.shape for record in before.videos] == [(4, 4, 16, 16, 3)] * 3
    folder = tmp_path / "cache" / "video_ae" / "videos"
    states = {path: path.stat().st_mtime_ns for path in folder.glob("*/arrays/*")}
    write(tmp_path / "films" / "a" / "3.avi", 8)
    after = config.source.arrays(config, 4)
    assert [record.shape for record in after.videos] == [(3, 4, 16, 16, 3)] * 4
    for index in range(3):
        np.testing.assert_array_equal(after.array(index), before.array(index)[:3])
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/arrays/*")}.items() >= states.items()
