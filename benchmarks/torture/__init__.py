"""What a long training may meet, done to it on purpose: `make torture`."""
