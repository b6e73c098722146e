"""The batches of a training, in the order of its steps.

Everything random in a step follows from (seed, step), so that a training can begin at any step.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from proxy_tasks.data.batches import Batch, Batches, HostBatch
from proxy_tasks.distributed import rank_and_size
from proxy_tasks.engine.config import TrainConfig

AHEAD = 2
"""Batches that the host makes ahead of a GPU."""


class ImageOrder:
    """The order in which images are shown: each once in every pass; batches run on over the end of a pass.

    Args:
        count: number of training images.
        seed: of the order.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._pass, self._order = -1, np.zeros(0, np.int64)

    def of_step(self, step: int, batch: int) -> NDArray[np.int64]:
        """Gives the numbers of the images of a step, counted from 0, of `batch` images."""
        chosen: list[NDArray[np.int64]] = []
        position, missing = step * batch, batch
        while missing:
            start = position % self.count
            part = self._of_pass(position // self.count)[start : start + missing]
            chosen.append(part)
            position, missing = position + len(part), missing - len(part)
        return np.concatenate(chosen)

    def _of_pass(self, number: int) -> NDArray[np.int64]:
        if number != self._pass:
            order = np.random.default_rng((self.seed, number)).permutation(self.count)
            self._pass, self._order = number, order
        return self._order


class BatchStream:
    """Makes this process's share of the batch of each step; for a GPU the host works ahead in a thread.

    Args:
        batches: of the training images.
        config: of the training.
        seed: decides about images and augmentation.
    """

    def __init__(self, batches: Batches, config: TrainConfig, seed: int) -> None:
        self.batches, self.config, self.seed = batches, config, seed
        self.order = ImageOrder(len(batches.cache), seed)
        rank, processes = rank_and_size()
        self.share = slice(rank * config.batch // processes, (rank + 1) * config.batch // processes)

    def steps(self, first: int, last: int) -> Generator[Batch]:
        """Gives the batches of the steps from `first` to before `last`, one after the other."""
        if self.batches.device.type != "cuda":
            yield from (self.batches.to_device(self._prepare(step)) for step in range(first, last))
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        try:
            waiting: list[Future[HostBatch]] = []
            ahead = first
            for _ in range(first, last):
                while ahead < last and len(waiting) <= AHEAD:
                    waiting.append(pool.submit(self._prepare, ahead))
                    ahead += 1
                yield self.batches.to_device(waiting.pop(0).result())
        finally:
            pool.shutdown(cancel_futures=True)

    def of_step(self, step: int) -> Batch:
        """Gives the batch of one step."""
        return self.batches.to_device(self._prepare(step))

    def _prepare(self, step: int) -> HostBatch:
        config = self.config
        images = self.order.of_step(step, config.batch)[self.share]
        noise = np.random.default_rng((self.seed, step, 1)).random((config.batch, 4))[self.share]
        return self.batches.prepare(images, config.augmentation, noise)
