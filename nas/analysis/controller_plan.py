"""The searches of a study of controllers: each controller searches the same task from the same seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from search_space.utils.validation import AtLeast, validate


@dataclass(frozen=True, kw_only=True)
class SearchId:
    """Tells a search from the others of its study.

    Args:
        controller: name of the controller.
        seed: of the search.
    """

    controller: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class ControllerStudy:
    """The controllers to compare, and the searches to compare them in.

    Args:
        common: configuration of space, task, executor, objective, search, trials, workers and fidelity, as
            plain data.
        controllers: the controllers' configurations by name.
        seeds: how many searches each controller makes.
        first_seed: the seed of the first of them; the others follow.
    """

    common: Mapping[str, Any]
    controllers: Mapping[str, Mapping[str, Any]]
    seeds: Annotated[int, AtLeast(2)]
    first_seed: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        validate(self)

    def searches(self) -> Iterator[SearchId]:
        """Gives all searches, seed by seed, so that a cut-off study is balanced."""
        for seed in self.all_seeds:
            for name in self.controllers:
                yield SearchId(controller=name, seed=seed)

    @property
    def all_seeds(self) -> range:
        """The seeds from which each controller searches."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def trials(self) -> int:
        """The budget of each search."""
        return int(self.common["trials"])

    @property
    def workers(self) -> int:
        """How many trials each search evaluates at a time."""
        return int(self.common["workers"])
