"""A table of scale-permuted detectors, trained for real, with a surrogate for all specs between them."""

from proxy_tasks.spinenet_bench.prior import TablePrior
from proxy_tasks.spinenet_bench.task import SpineNetBenchTask
from proxy_tasks.spinenet_bench.trainings import BenchError, RecordedTraining, read_trainings

__all__ = ["BenchError", "RecordedTraining", "SpineNetBenchTask", "TablePrior", "read_trainings"]
