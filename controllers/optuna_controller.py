"""Optuna's samplers as controllers, over a fixed parametrization of the decisions.

A decision outside permutations is a categorical parameter. A permutation becomes one number in [0, 1]
for each of its options: slots are filled in ascending order of these numbers, so that a sampler can learn
that an option is better early. An answer that a mask forbids is replaced by the nearest allowed one.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any

from controllers.controller import Controller, Proposal, Reward
from search_space import Genotype, Space
from search_space.decisions import options, permutation_groups
from search_space.utils.lookup import lookup
from search_space.utils.validation import AtLeast, checked

MAX_RESAMPLES = 6
"""Asks before a key that was proposed before is proposed again."""


SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "qmc": "QMCSampler",
}
"""Optuna's samplers by short names."""


class SamplerError(ValueError):
    """A sampler that Optuna does not have or cannot make; the message says why."""


class OptunaController(Controller):
    """Proposes what an Optuna sampler suggests.

    Args:
        space, seed: see `Controller`.
        sampler: short name of `SAMPLERS`, or the name of a class in `optuna.samplers`.
        objectives: number of rewards, all maximized.
        options: further arguments of the sampler. TPE is multivariate and counts running trials as poor
            unless they say otherwise.

    Attributes:
        variant: the sampler, which tells searches apart in reports.
    """

    @checked
    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        sampler: str = "tpe",
        objectives: Annotated[int, AtLeast(1)] = 1,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(space, seed)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.objectives, self.variant = objectives, sampler
        made = _make_sampler(sampler, seed, dict(options or {}))
        self._study = optuna.create_study(directions=["maximize"] * objectives, sampler=made)
        self._distributions = self._parametrize(optuna.distributions)
        self._trials: dict[int, Any] = {}

    @property
    def is_tpe(self) -> bool:
        """Whether the sampler is TPE, whose proposals take longer the more trials there are."""
        import optuna

        return isinstance(self._study.sampler, optuna.samplers.TPESampler)

    def _propose(self) -> Genotype:
        import optuna

        for more in reversed(range(MAX_RESAMPLES)):
            trial, genotype = self._suggest()
            if self._proposed.add(genotype):
                break
            if more:  # Its reward is known, or under way. A sampler does not learn from a failure.
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        self._trials[self._asked] = trial
        return genotype

    def _adopt(self, genotype: Genotype) -> None:
        self._proposed.add(genotype)
        self._trials[self._asked] = self._enqueue(genotype)

    def _enqueue(self, genotype: Genotype) -> Any:
        """A trial of Optuna's with a genotype that the sampler has not suggested."""
        self._study.enqueue_trial(self._params(genotype))
        return self._suggest()[0]

    def recall(self, proposal: Proposal) -> None:
        """Takes a recorded proposal in the place of the latest one; see `Recalls`."""
        import optuna

        self._proposed.replace_latest(proposal.genotype)
        self._study.tell(self._trials[proposal.number], state=optuna.trial.TrialState.FAIL)
        self._trials[proposal.number] = self._enqueue(proposal.genotype)

    def _suggest(self) -> tuple[Any, Genotype]:
        trial = self._study.ask(self._distributions)
        return trial, self._genotype(trial.params)

    def _learn(self, proposal: Proposal, reward: Reward) -> None:
        import optuna

        trial = self._trials.pop(proposal.number, None)
        if trial is None:
            return
        if reward is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, reward)

    def _parametrize(self, distributions: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for decision in self.space.decisions:
            if not decision.group:
                found[decision.name] = distributions.CategoricalDistribution(range(len(decision.labels)))
        for group, members in permutation_groups(self.space.decisions).items():
            for option in range(len(self.space.decisions[members[0]].labels)):
                found[f"{group}/{option}"] = distributions.FloatDistribution(0.0, 1.0)
        return found

    def _params(self, genotype: Genotype) -> dict[str, Any]:
        """Returns the parameters that `_genotype` turns into a genotype."""
        decisions = self.space.decisions
        found: dict[str, Any] = {
            d.name: answer for d, answer in zip(decisions, genotype, strict=True) if not d.group
        }
        for group, members in permutation_groups(decisions).items():
            count = len(decisions[members[0]].labels)
            order = [genotype[i] for i in members]
            order += [option for option in range(count) if option not in order]
            found |= {f"{group}/{option}": (position + 0.5) / count for position, option in enumerate(order)}
        return found

    def _genotype(self, params: dict[str, Any]) -> Genotype:
        decisions = self.space.decisions
        wish: dict[int, int] = {}
        for group, members in permutation_groups(decisions).items():
            count = len(decisions[members[0]].labels)
            order = sorted(range(count), key=lambda option, g=group: (params[f"{g}/{option}"], option))  # type: ignore[misc]
            wish |= dict(zip(members, order, strict=False))
        answers: list[int] = []
        for i, decision in enumerate(decisions):
            wanted = wish[i] if decision.group else int(params[decision.name])
            allowed = options(decisions, answers)
            answers.append(min(allowed, key=lambda option, w=wanted: (abs(option - w), option)))  # type: ignore[misc]
        return tuple(answers)


def _make_sampler(name: str, seed: int, options: dict[str, Any]) -> Any:
    import optuna

    if not isinstance(name, str):
        raise SamplerError(f"sampler must be a name, not {name!r}")
    known = {**SAMPLERS, **{n: n for n in dir(optuna.samplers) if n.endswith("Sampler")}}
    path = lookup(name, known, "sampler", SamplerError)
    if path == "TPESampler":
        options = {"multivariate": True, "constant_liar": True, **options}
    made = getattr(optuna.samplers, path)
    try:
        if path == "CmaEsSampler":
            importlib.import_module("cmaes")  # Optuna itself would notice its absence only after some trials.
        return made(seed=seed, **options)
    except ImportError as error:
        raise SamplerError(f"sampler {name} needs a package: pip install {error.name}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise SamplerError(f"sampler {name}: {error}") from None
