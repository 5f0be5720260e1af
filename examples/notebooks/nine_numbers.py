# %% [markdown]
# # An LSTM autoencoder of nine numbers
#
# The sequence 0.1, 0.2, ..., 0.9 of the well-known LSTM autoencoder tutorial: reconstructed, predicted, and as a
# code. Ten seconds on two CPU cores.

# %%
# Outside a checkout: %pip install video-ae
import matplotlib.pyplot as plt
import numpy as np

from video_ae import SequenceAutoencoder

EPOCHS = 300

# %% [markdown]
# One sequence of nine steps with one feature, `(sequences, steps, features)`.

# %%
sequence = np.arange(1, 10).reshape(1, 9, 1) / 10
settings = {"hidden_size": 100, "code_size": 4, "max_iter": EPOCHS, "random_state": 0}

# %% [markdown]
# ## Reconstruction
#
# The encoder reads all nine numbers and keeps four; the decoder rebuilds the sequence from these.

# %%
autoencoder = SequenceAutoencoder("reconstruct", **settings).fit(sequence)
print("code          ", autoencoder.transform(sequence)[0].round(2))
print("reconstruction", autoencoder.reconstruct(sequence)[0, :, 0].round(2))

# %% [markdown]
# ## Reconstruction and prediction
#
# The composite model reads five numbers and has two decoders: one rebuilds these five, the other predicts the next
# four, which it has not read.

# %%
composite = SequenceAutoencoder("composite", future_steps=4, **settings).fit(sequence)
print("reconstruction", composite.reconstruct(sequence[:, :5])[0, :, 0].round(2))
print("prediction    ", composite.predict(sequence[:, :5])[0, :, 0].round(2))

# %% [markdown]
# The loss of every epoch, in standardised units:

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(autoencoder.loss_curve_, label="reconstruction")
axes.plot(composite.loss_curve_, label="composite")
axes.set(xlabel="epoch", ylabel="squared error per step", yscale="log")
axes.legend(frameon=False)
figure.savefig("nine-numbers.png", dpi=120)
