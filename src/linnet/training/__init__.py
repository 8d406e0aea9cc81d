"""Tools for training: what a training loop carries from step to step."""
