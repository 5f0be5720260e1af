# %% [markdown]
# # Anomalies in sensor data
#
# An autoencoder that has seen normal operation only reconstructs it well and faults badly: its error is an anomaly
# score. Ten seconds on two CPU cores.

# %%
# Outside a checkout: %pip install video-ae
import matplotlib.pyplot as plt
import numpy as np

from video_ae import SequenceAutoencoder
from video_ae.thresholds import Thresholds, detection

EPOCHS = 20

# %% [markdown]
# ## Data
#
# Two sensors of a machine, `(steps, sensors)`. In the last part one of them is stuck for 40 steps. None of its values
# is out of range: only the course over time is wrong.

# %%
time = np.arange(4000)
noise = np.random.default_rng(0).normal(size=(4000, 2))
series = np.stack([np.sin(time / 5), np.cos(time / 8)], axis=1) + 0.1 * noise
series[3500:3540, 0] = series[3500, 0]
training, validation, operation = series[:2000], series[2000:3000], series[3000:]

# %% [markdown]
# ## Model and threshold
#
# The model learns from normal data. The threshold is a quantile of the scores of *other* normal data, because errors
# on training data are smaller. Scores are high for normal data, as everywhere in scikit-learn; hence the minus.

# %%
model = SequenceAutoencoder(window=30, stride=5, max_iter=EPOCHS, random_state=0).fit(training)
thresholds = Thresholds.fit(-model.score_steps(validation), quantile=0.99)
scores = -model.score_steps(operation)
flagged = thresholds.flag(scores)
steps = np.flatnonzero(flagged)
print(f"{len(steps)} of 1,000 steps are anomalous:", f"{steps[0]} to {steps[-1]}" if len(steps) else "none")

# %% [markdown]
# Which sensor is it? The share of each in the error of step 520:

# %%
features = -model.score_features(operation)
print((features[520] / features[520].sum()).round(2))

# %% [markdown]
# Labels, where there are any, are for judging only.

# %%
labels = np.zeros(1000, dtype=int)
labels[500:540] = 1
curves = detection(labels, scores)
print(f"ROC-AUC {curves['roc_auc']:.3f}, average precision {curves['average_precision']:.3f}")

# %%
figure, (above, below) = plt.subplots(2, figsize=(8, 4), sharex=True, layout="constrained")
above.plot(operation, linewidth=0.7, label=["sensor 0", "sensor 1"])
above.axvspan(500, 540, color="0.85", label="fault")
above.legend(frameon=False, loc="upper right", ncols=3)
below.plot(scores)
below.axhline(thresholds.of(1)[0], color="0.4", linestyle=":")
below.set(ylabel="score", xlabel="step", yscale="log")
figure.savefig("sensor-anomalies.png", dpi=120)
