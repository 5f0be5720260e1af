# %% [markdown]
# # Your own videos: codes and classes
#
# A folder of video files in, a code of fixed length for each out, and a classifier from few labels. The notebook
# makes its videos itself; put the paths of your own in their place. Half a minute on two CPU cores.

# %%
# Outside a checkout: %pip install video-ae
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from video_ae import VideoAutoencoder, VideoClassifier

STEPS = 60
FOLDER = Path("made-videos")

# %% [markdown]
# ## Videos
#
# A bright square over noise that moves to the side or up and down: twelve short files of each class. A single frame
# does not tell the class.

# %%
random = np.random.default_rng(0)


def write_video(path: Path, *, vertical: bool) -> None:
    """32 frames of 96x96 pixels, a square at a random place that swings in one direction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 16, (96, 96))
    across, start, period = random.integers(10, 60), random.uniform(0, 6), random.uniform(8, 14)
    for time in range(32):
        along = round(35 + 25 * np.sin(start + 2 * np.pi * time / period))
        y, x = (along, across) if vertical else (across, along)
        frame = random.integers(0, 40, (96, 96, 3), dtype=np.uint8)
        frame[y : y + 24, x : x + 24] = 220
        writer.write(frame)
    writer.release()


for name in ("side", "vertical"):
    for number in range(12):
        write_video(FOLDER / name / f"{number:02}.avi", vertical=name == "vertical")
paths = sorted(FOLDER.glob("*/*.avi"))
labels = np.array([path.parent.name for path in paths])
print(len(paths), "videos")

# %% [markdown]
# ## Codes, without labels
#
# `motion` reads histograms of optical flow and gradients and needs no weights. Decoded files are kept in the user's
# cache, so that a second run is faster.

# %%
autoencoder = VideoAutoencoder("motion", steps=STEPS, random_state=0).fit(paths)
codes = autoencoder.transform(paths)
print("codes", codes.shape)

# %%
figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
points = PCA(2).fit_transform(codes)
for name in np.unique(labels):
    axes.scatter(*points[labels == name].T, label=name)
axes.set(title="codes, two principal components", xticks=[], yticks=[])
axes.legend(frameon=False)
figure.savefig("own-videos.png", dpi=120)

# %% [markdown]
# ## Classes, from three labels each
#
# The classifier starts from the encoder. It is judged on videos whose labels it has not seen.

# %%
seen = np.concatenate([np.flatnonzero(labels == name)[:3] for name in np.unique(labels)])
unseen = np.setdiff1d(np.arange(len(paths)), seen)
classifier = VideoClassifier(autoencoder, steps=STEPS, random_state=0)
classifier.fit([paths[index] for index in seen], labels[seen])
predicted = classifier.predict([paths[index] for index in unseen])
print(f"accuracy {np.mean(predicted == labels[unseen]):.2f} on {len(unseen)} videos; chance is 0.50")
