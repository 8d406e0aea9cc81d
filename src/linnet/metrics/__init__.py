"""What a training run tells of itself while it goes on; see :mod:`linnet.metrics.tensorboard`."""
