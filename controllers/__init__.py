"""Controllers decide what to try next: they propose genotypes and learn from the rewards.

The package imports `search_space`; it knows neither `proxy_tasks` nor `nas`.
"""

from typing import TYPE_CHECKING

from controllers.controller import AskTell, Controller, Proposal, Reward
from controllers.filters import BudgetFilter, FilterError, ZeroCostFilter
from controllers.local_search import LocalSearch
from controllers.optuna_controller import OptunaController, SamplerError
from controllers.random_search import RandomSearch
from controllers.regularized_evolution import RegularizedEvolution
from search_space.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from controllers.policy_gradient import PolicyGradient
    from controllers.predictor_search import PredictorSearch

__all__ = [
    "AskTell",
    "BudgetFilter",
    "Controller",
    "FilterError",
    "LocalSearch",
    "OptunaController",
    "PolicyGradient",
    "PredictorSearch",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Reward",
    "SamplerError",
    "ZeroCostFilter",
]

# These import torch or scipy, which takes long.
__getattr__ = lazy_exports(
    __name__,
    {
        "PolicyGradient": "controllers.policy_gradient",
        "PredictorSearch": "controllers.predictor_search",
    },
)
