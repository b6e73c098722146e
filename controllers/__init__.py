"""What to try next: controllers propose genotypes and are told their scores.

Imports `search_space`; knows neither `proxy_tasks` nor `nas`.
"""

from typing import TYPE_CHECKING, Any

from controllers.controller import Controller, Proposal, Reward
from controllers.cost_filter import CostFilter, FilterError
from controllers.local_search import LocalSearch
from controllers.optuna_controller import OptunaController, SamplerError
from controllers.random_search import RandomSearch
from controllers.regularized_evolution import RegularizedEvolution

if TYPE_CHECKING:
    from controllers.policy_gradient import PolicyGradient

__all__ = [
    "Controller",
    "CostFilter",
    "FilterError",
    "LocalSearch",
    "OptunaController",
    "PolicyGradient",
    "Proposal",
    "RandomSearch",
    "RegularizedEvolution",
    "Reward",
    "SamplerError",
]


def __getattr__(name: str) -> Any:
    """The policy gradient is imported when it is wanted, as torch comes with it."""
    if name == "PolicyGradient":
        from controllers.policy_gradient import PolicyGradient

        return PolicyGradient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
