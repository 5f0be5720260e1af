"""Models for places without this package."""
