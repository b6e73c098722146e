"""What a search asks of a controller and a space, with their faults told as such."""

from __future__ import annotations

from typing import Any

from controllers import Proposal, Reward
from nas.faults import one_line, told_as
from nas.plugins import FaultError
from nas.trials import AsksAndTells
from search_space import Genotype, GenotypeError, Space


def ask(controller: AsksAndTells) -> Proposal:
    """A controller's next proposal, its genotype as plain ints.

    Raises:
        FaultError: if it fails or gives something else.
    """
    what = f"{type(controller).__name__}.ask"
    with told_as(what):
        proposal = controller.ask()
    try:
        return Proposal(proposal.number, tuple(map(int, proposal.genotype)))
    except (AttributeError, TypeError, ValueError):
        raise FaultError(f"{what} must give a Proposal, not a {type(proposal).__name__}") from None


def tell(controller: AsksAndTells, proposal: Proposal, reward: Reward) -> None:
    """Tells a controller a reward.

    Raises:
        FaultError: if it fails.
    """
    with told_as(f"{type(controller).__name__}.tell"):
        controller.tell(proposal, reward)


def spec_and_key(space: Space, genotype: Genotype) -> tuple[Any, str]:
    """What a genotype stands for, and its name.

    Raises:
        FaultError: if the space fails, or the genotype is none of it, or a key is no text.
    """
    name = type(space).__name__
    try:
        with told_as(f"{name}.decode"):
            spec = space.decode(genotype)
    except GenotypeError as error:
        raise FaultError(f"the controller proposes {genotype}, which is not of the space: {error}") from None
    with told_as(f"{name}.key"):
        key = space.key(spec)
    if not isinstance(key, str) or not key:
        raise FaultError(f"{name}.key must give a text, not {one_line(repr(key))}")
    return spec, key
