"""What to try next: controllers propose genotypes and are told their scores.

Imports `search_space`; knows neither `proxy_tasks` nor `nas`.
"""

from typing import TYPE_CHECKING, Any

from controllers.controller import Controller, Proposal, Reward
from controllers.filters import CostFilter, FilterError, PromiseFilter
from controllers.local_search import LocalSearch
from controllers.optuna_controller import OptunaController, SamplerError
from controllers.random_search import RandomSearch
from controllers.regularized_evolution import RegularizedEvolution

if TYPE_CHECKING:
    from controllers.policy_gradient import PolicyGradient
    from controllers.predictor_search import PredictorSearch

__all__ = [
    "Controller",
    "CostFilter",
    "FilterError",
    "LocalSearch",
    "OptunaController",
    "PolicyGradient",
    "PredictorSearch",
    "PromiseFilter",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Reward",
    "SamplerError",
]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is wanted."""
    if name == "PolicyGradient":
        from controllers.policy_gradient import PolicyGradient

        return PolicyGradient
    if name == "PredictorSearch":
        from controllers.predictor_search import PredictorSearch

        return PredictorSearch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
