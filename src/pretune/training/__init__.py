"""The one training loop, with its objectives, schedule, optimizers and checkpoints."""
