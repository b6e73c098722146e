"""Packages that few people need: which ones belong together, and how to install them."""

from __future__ import annotations

EXTRAS = {
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "mlflow": ("mlflow-skinny",),
    "prometheus": ("prometheus-client",),
    "wandb": ("wandb",),
    "weights": ("tensorflow",),
}
"""Names of packages on PyPI by the extra of pyproject.toml that holds them."""


def install_hint(extra: str) -> str:
    """The commands that install an extra.

    The package itself is on no index, so that its own name with the extra in brackets would not be found.
    """
    return f"pip install {' '.join(EXTRAS[extra])}, or in a checkout: uv sync --extra {extra}"
