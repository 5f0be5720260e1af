"""Loaders: what goes into the model, and nothing about the model. Imported as `video_ae.datasets`."""
