"""`python evaluate.py RUN`: what `video-ae evaluate` is once installed, see `video_ae/commands/evaluate.py`."""

import sys

from video_ae.commands.evaluate import command

if __name__ == "__main__":
    sys.exit(command())
