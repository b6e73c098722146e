"""What an optimizer remembers of its parameters, taken from a file only where it fits them.

Optimizers take whatever they are given, and the fused ones do not look at sizes: where a buffer is shorter
than its parameter, they read and write behind its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from search_space.utils.parsing import shown

BUFFERS: Mapping[type[torch.optim.Optimizer], frozenset[str]] = {
    torch.optim.SGD: frozenset({"momentum_buffer"}),
    torch.optim.AdamW: frozenset({"step", "exp_avg", "exp_avg_sq"}),
}
"""What each optimizer remembers of a parameter, by name."""


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Gives an optimizer the buffers of a file; its settings, such as the momentum, stay its own.

    Args:
        optimizer: of the class that has written the file.
        saved: what its `state_dict` was.

    Raises:
        ValueError: if a buffer does not fit its parameter.
        Exception: whatever values of other types raise.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for number, buffers in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"its optimizer has a parameter {shown(number)}")
        if buffers.keys() != BUFFERS[type(optimizer)]:
            raise ValueError(f"its optimizer remembers {shown(list(buffers))} of the parameter {number}")
        state[number] = {
            name: _copy(buffer, name, parameters[number]) for name, buffer in sorted(buffers.items())
        }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _copy(buffer: object, name: str, parameter: Tensor) -> Tensor:
    """Copies a buffer, as a tensor of a file may use one value of its storage for many of its own.

    Raises:
        ValueError: if it is not as large as its parameter; the number of steps is a single number.
    """
    fitting = torch.zeros(()) if name == "step" else torch.empty_like(parameter)
    if not isinstance(buffer, Tensor) or buffer.shape != fitting.shape or buffer.dtype != fitting.dtype:
        raise ValueError(f"its optimizer has a wrong {name} for a parameter of {list(parameter.shape)}")
    return fitting.copy_(buffer)
