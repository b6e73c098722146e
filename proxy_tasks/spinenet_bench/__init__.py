"""A table of scale-permuted detectors, trained for real, with a surrogate for all specs between them."""

from proxy_tasks.spinenet_bench.prior import TablePrior
from proxy_tasks.spinenet_bench.task import SpineNetBenchTask
from proxy_tasks.spinenet_bench.trainings import BenchError, Training, read_trainings

__all__ = ["BenchError", "SpineNetBenchTask", "TablePrior", "Training", "read_trainings"]
