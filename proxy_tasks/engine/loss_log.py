"""The losses of a training: kept on the device, and read by the host now and then.

To read a number on the host waits for everything that the device has still to do. So steps only write their
loss; the host reads many of them at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from proxy_tasks.task import TaskFailureError

EVERY = 50
"""Steps between two readings; an evaluation or a checkpoint reads too."""

LOSS_MEANS = {"loss_50": 0.5, "loss_25": 0.25, "loss": 0.1}
"""Shares of the steps so far, the last ones, over which means are taken, by the means' names."""


class LossLog:
    """Keeps the loss of every step.

    Args:
        losses: of the steps before this session.
        steps: number of all steps.
        device: where losses are written.
    """

    def __init__(self, losses: Sequence[float], steps: int, device: torch.device) -> None:
        self.read = list(losses)
        self._written = torch.zeros(steps - len(self.read), device=device)
        self._first = self._count = len(self.read)

    def write(self, loss: Tensor) -> None:
        """Takes the loss of the next step."""
        self._written[self._count - self._first] = loss
        self._count += 1

    @property
    def due(self) -> bool:
        """Whether it is time to read."""
        return self._count - len(self.read) >= EVERY

    def update(self) -> list[float]:
        """Reads what has been written since the last time, and returns it.

        Raises:
            TaskFailureError: of the kind "diverged", if a loss is not finite.
        """
        start = len(self.read)
        new = self._written[start - self._first : self._count - self._first].tolist()
        for step, loss in enumerate(new, start):
            if not math.isfinite(loss):
                raise TaskFailureError("diverged", f"the loss is {loss}", step)
        self.read += new
        return new

    def means(self) -> dict[str, float]:
        """Gives the mean loss over the last parts of the steps that have been read.

        They are "loss" for the last tenth, and "loss_50" and "loss_25" for the last half and quarter. Sums of
        the training loss rank networks at no cost (Ru et al. 2020, arXiv 2006.04492).
        """
        found = {}
        for name, share in LOSS_MEANS.items():
            window = self.read[-max(1, round(share * len(self.read))) :]
            found[name] = sum(window) / len(window) if window else math.nan
        return found
