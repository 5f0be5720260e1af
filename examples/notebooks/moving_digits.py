# %% [markdown]
# # Moving digits: predict video from video
#
# A model that comes with the package (1 million parameters, trained for two digits that bounce) reads ten frames and
# predicts the next ten. A few seconds on two CPU cores; nothing is downloaded.

# %%
# Outside a checkout: %pip install video-ae
import matplotlib.pyplot as plt
import torch

from video_ae import LSTMAutoencoder, evaluate
from video_ae.datasets.config import DataConfig

CLIPS = 100

# %% [markdown]
# Clips are generated: a clip is a function of seed and index, the same on every machine. Test digits are images that
# the model was not trained on.

# %%
model = LSTMAutoencoder.from_pretrained("moving-digits")
digits = DataConfig().open("test", 20)
clips = torch.stack([digits[index] for index in range(CLIPS)])  # (clips, 20, 1, 64, 64) uint8
past, truth = clips[:3, :10], clips[:3, 10:]
with torch.no_grad():
    code = model.encode(past)
    future = model.predict(past, steps=10)
print("code", tuple(code.shape), "future", tuple(future.shape))

# %% [markdown]
# Three clips; above the true future, below the prediction. Digits stay readable for six or seven frames, then blur.

# %%
figure, axes = plt.subplots(6, 10, figsize=(10, 6.2), layout="constrained")
for row, frames in enumerate(frames for pair in zip(truth, future, strict=True) for frames in pair):
    for column, frame in enumerate(frames):
        axes[row, column].imshow(frame[0].numpy(), cmap="gray", vmin=0, vmax=255)
        axes[row, column].set_axis_off()
figure.savefig("moving-digits.png", dpi=120)

# %% [markdown]
# Metrics per frame, over all clips; lower is better, except for SSIM. Evaluation is free running: the model never
# sees a true future frame. For comparison, the error of copying the last frame:

# %%
results = evaluate(model, clips)
print("prediction: MSE {mse:.1f}, SSIM {ssim:.3f}, nats {nats:.1f}".format(**results["future"]))
copied = (clips[:, 9:10].float() / 255 - clips[:, 10:].float() / 255).square().flatten(2).sum(dim=2)
print(f"copy of the last frame: MSE {copied.mean():.1f}")
