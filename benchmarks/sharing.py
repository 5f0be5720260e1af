"""What many videos cost: decoding by several processes, one video more, the index of a large collection, a training
that streams.

python benchmarks/sharing.py                 # 2,000 videos of 30 frames of 64x64; 240,000 entries; minutes
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from video_ae.datasets import video_cache
from video_ae.datasets.config import DataConfig
from video_ae.datasets.division import Division
from video_ae.datasets.groups import divide
from video_ae.datasets.parts import choose
from video_ae.datasets.video_arrays import MappedFiles, VideoArrays, VideoRecord
from video_ae.datasets.video_clips import VideoClips


def write_videos(folder: Path, numbers: range) -> None:
    """H.264, a key frame every 12 frames; 20 in each of 100 folders."""
    for number in numbers:
        path = folder / f"class{number % 100:03d}" / f"v_g{number:06d}_c01.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.random.default_rng(number).integers(0, 256, (30, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=25, options={"g": "12", "preset": "ultrafast", "threads": "1"})
            stream.height = stream.width = 64
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            out.mux(stream.encode(None))


def opened(videos: Path, threads: int) -> None:
    """What a process of `timed` does: the seconds from when all are ready, and those of its CPU."""
    video_cache._THREADS = threads
    sys.stdin.readline()
    started, cpu = time.perf_counter(), time.process_time()
    DataConfig("video-folder", str(videos)).open("train", 30)
    print(json.dumps([time.perf_counter() - started, time.process_time() - cpu]))


def timed(videos: Path, cache: Path, processes: int, threads: int) -> tuple[float, float]:
    """Seconds until the last process has opened the videos, and CPU seconds of all."""
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--open", str(videos), str(threads)],
            env=os.environ | {"XDG_CACHE_HOME": str(cache)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    time.sleep(6)  # until all have imported what they need
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [json.loads(process.communicate()[0]) for process in running]
    return max(wall for wall, _ in ended), sum(cpu for _, cpu in ended)


def many_entries(count: int) -> None:
    """A collection of `count` videos as the cache says what is in it: its index, a division of it, and clips.

    Not in it is looking for the files, which depends on the disk.
    """
    names = {f"{number:064x}": f"class{number % 400:03d}/v_g{number:06d}_c01" for number in range(count)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {f"/videos/{name}.mp4": (10**6, 1, content) for content, name in names.items()}
        arrays = dict.fromkeys(names, ((250, 64, 64, 3), "uint8", 3072128))
        (folder / "index.json").write_text(json.dumps({"files": files, "arrays": arrays}))
        started, cpu = time.perf_counter(), time.process_time()
        _, stored = video_cache._read_index(folder)
        records = [
            VideoRecord(name, name[:8], name[9:], *stored[content][:2], fingerprint=content)
            for content, name in names.items()
        ]
        every = VideoArrays(records, MappedFiles(records, [folder] * count).array)
        division = Division.of(every, divide(records))
        again = Division.from_json(json.loads(json.dumps(division.to_json())), "run")
        part = choose(every, "train", again, lambda arrays: divide(arrays.videos), "/videos")
        clips = VideoClips(part.arrays, range(len(part.arrays.videos)), 20, step=5)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"{count:,} entries: {wall:.1f} s, {cpu:.1f} CPU seconds, {len(clips):,} training clips")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--entries", type=int, default=240_000)
    parser.add_argument("--open", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.open:
        opened(Path(arguments.open[0]), int(arguments.open[1]))
        return
    with tempfile.TemporaryDirectory() as place:
        videos, cache = Path(place) / "videos", Path(place) / "cache"
        write_videos(videos, range(arguments.videos))
        for threads in (1, os.cpu_count() or 1):
            for processes in (1, 2, 1, 2):
                shutil.rmtree(cache, ignore_errors=True)
                wall, cpu = timed(videos, cache, processes, threads)
                print(f"{processes} processes of {threads} threads: {wall:.2f} s, {cpu:.2f} CPU seconds", flush=True)
        write_videos(videos, range(arguments.videos, arguments.videos + 1))
        wall, cpu = timed(videos, cache, 1, 1)
        print(f"one video more: {wall:.2f} s, {cpu:.2f} CPU seconds", flush=True)
    many_entries(arguments.entries)


if __name__ == "__main__":
    main()
