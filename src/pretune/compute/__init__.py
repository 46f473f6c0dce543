"""The hardware: device, threads, precision, compilation."""
