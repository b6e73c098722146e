"""Networks that stand on a backbone, and the file that holds a trained one."""

from typing import TYPE_CHECKING

from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from proxy_tasks.models.model import Model, ModelError, build_model
    from proxy_tasks.models.model_file import load_model, read_model, save_model

__all__ = [
    "Model",
    "ModelError",
    "build_model",
    "load_model",
    "read_model",
    "save_model",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Model": "proxy_tasks.models.model",
        "ModelError": "proxy_tasks.models.model",
        "build_model": "proxy_tasks.models.model",
        "load_model": "proxy_tasks.models.model_file",
        "read_model": "proxy_tasks.models.model_file",
        "save_model": "proxy_tasks.models.model_file",
    },
)
