"""`python train.py --composite`: what `video-ae train` is once installed, see `video_ae/commands/train.py`."""

import sys

from video_ae.commands.train import command

if __name__ == "__main__":
    sys.exit(command())
