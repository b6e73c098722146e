"""How good is it: tasks, which give a spec its score, and all that they are made of.

The names below are public; each is imported when it is first asked for, as torch takes seconds.
"""

from typing import TYPE_CHECKING

from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from proxy_tasks.adapted_task import AdaptedTask, adapt
    from proxy_tasks.data.augmentation import Augmentation
    from proxy_tasks.data.coco import CocoReader
    from proxy_tasks.data.dataset import DataError, DetectionDataset, Fault, Inspection
    from proxy_tasks.data.detection import DetectionData
    from proxy_tasks.data.image_folder import LabeledImages
    from proxy_tasks.data.image_io import read_image_size
    from proxy_tasks.data.pascal_voc import PascalVocReader
    from proxy_tasks.data.reader import Reader
    from proxy_tasks.data.records import ImageRecord, ObjectRecord, build_dataset
    from proxy_tasks.data.shapes import ShapesConfig
    from proxy_tasks.data.yolo import YoloReader
    from proxy_tasks.engine.config import TrainConfig
    from proxy_tasks.evaluation.latency import LatencyConfig
    from proxy_tasks.script import ScriptTask
    from proxy_tasks.spinenet_bench import SpineNetBenchTask, TablePrior
    from proxy_tasks.synthetic import SyntheticTask
    from proxy_tasks.table import TableTask
    from proxy_tasks.task import Report, Score, Task, TaskFailureError
    from proxy_tasks.training_task import TrainingTask
    from proxy_tasks.zero_cost import ZeroCostTask
    from search_space.heads import AnchorConfig, RetinaNetLossConfig, RoIConfig

__all__ = [
    "AdaptedTask",
    "AnchorConfig",
    "Augmentation",
    "CocoReader",
    "DataError",
    "DetectionData",
    "DetectionDataset",
    "Fault",
    "ImageRecord",
    "Inspection",
    "LabeledImages",
    "LatencyConfig",
    "ObjectRecord",
    "PascalVocReader",
    "Reader",
    "Report",
    "RetinaNetLossConfig",
    "RoIConfig",
    "Score",
    "ScriptTask",
    "ShapesConfig",
    "SpineNetBenchTask",
    "SyntheticTask",
    "TablePrior",
    "TableTask",
    "Task",
    "TaskFailureError",
    "TrainConfig",
    "TrainingTask",
    "YoloReader",
    "ZeroCostTask",
    "adapt",
    "build_dataset",
    "read_image_size",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "AdaptedTask": "proxy_tasks.adapted_task",
        "AnchorConfig": "search_space.heads",
        "Augmentation": "proxy_tasks.data.augmentation",
        "CocoReader": "proxy_tasks.data.coco",
        "DataError": "proxy_tasks.data.dataset",
        "DetectionData": "proxy_tasks.data.detection",
        "DetectionDataset": "proxy_tasks.data.dataset",
        "Fault": "proxy_tasks.data.dataset",
        "ImageRecord": "proxy_tasks.data.records",
        "Inspection": "proxy_tasks.data.dataset",
        "LabeledImages": "proxy_tasks.data.image_folder",
        "LatencyConfig": "proxy_tasks.evaluation.latency",
        "ObjectRecord": "proxy_tasks.data.records",
        "PascalVocReader": "proxy_tasks.data.pascal_voc",
        "Reader": "proxy_tasks.data.reader",
        "Report": "proxy_tasks.task",
        "RetinaNetLossConfig": "search_space.heads",
        "RoIConfig": "search_space.heads",
        "Score": "proxy_tasks.task",
        "ScriptTask": "proxy_tasks.script",
        "ShapesConfig": "proxy_tasks.data.shapes",
        "SpineNetBenchTask": "proxy_tasks.spinenet_bench",
        "SyntheticTask": "proxy_tasks.synthetic",
        "TablePrior": "proxy_tasks.spinenet_bench",
        "TableTask": "proxy_tasks.table",
        "Task": "proxy_tasks.task",
        "TaskFailureError": "proxy_tasks.task",
        "TrainConfig": "proxy_tasks.engine.config",
        "TrainingTask": "proxy_tasks.training_task",
        "YoloReader": "proxy_tasks.data.yolo",
        "ZeroCostTask": "proxy_tasks.zero_cost",
        "build_dataset": "proxy_tasks.data.records",
        "read_image_size": "proxy_tasks.data.image_io",
        "adapt": "proxy_tasks.adapted_task",
    },
)
