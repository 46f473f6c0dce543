"""The hardware: device, threads, precision, compilation, and training with several processes."""
