"""Modules without their random initial weights, for a model whose weights are about to be read from a file.

Memory that nothing is written into costs nothing, and drawing a number for each weight takes as long as reading them. A
model on the device "meta" would need no memory either, but makes torch import its compiler, which takes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

_FILLING = ("kaiming_uniform_", "uniform_", "normal_")  # what the modules of torch that we use begin with


class Unfilled(TorchFunctionMode):
    """Within `with Unfilled():`, new layers and embeddings have whatever was in their memory, and draw no numbers."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _FILLING:
            return args[0] if args else kwargs["tensor"]  # functions of torch.nn.init are called by name
        return func(*args, **kwargs)
