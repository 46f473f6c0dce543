"""The tasks that a model can be fine-tuned for: one module each, behind the protocol in `task.py`."""
