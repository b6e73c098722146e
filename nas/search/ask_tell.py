"""What a search asks of a controller and a space; their faults are reported as theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from controllers import Proposal, Reward
from controllers.controller import AskTell
from controllers.evidence import Evidence, LearnsFromEvidence
from nas.journal.trials import spec_text
from nas.plugins.faults import FaultError, one_line, reraise_as
from proxy_tasks.task import Fidelity
from search_space import Genotype, GenotypeError, Space
from search_space.utils.numbers import as_number, whole_numbers
from search_space.utils.validation import describe, matches


@dataclass(frozen=True, slots=True)
class Candidate:
    """A genotype that has been decoded, once.

    Args:
        genotype: of the space.
        spec: what it stands for.
        key: the spec's name; equal specs have equal keys.
    """

    genotype: Genotype
    spec: Any
    key: str


def controller_name(controller: object) -> str:
    """Names a controller by its class, its variant if it has several, and the controller that it filters."""
    name, variant = type(controller).__name__, getattr(controller, "variant", None)
    if isinstance(variant, str):
        name += f" ({variant})"
    inner = getattr(controller, "controller", None)
    return f"{name} over {controller_name(inner)}" if callable(getattr(inner, "ask", None)) else name


def ask(controller: AskTell, number: int) -> Proposal:
    """Asks a controller for its next proposal, whose genotype is a tuple of ints.

    Args:
        controller: is asked.
        number: of the proposal, which is how many the controller has made before.

    Raises:
        FaultError: if the controller fails or gives something else, or a fidelity that cannot be.
    """
    what = f"{type(controller).__name__}.ask"
    with reraise_as(what):
        proposal = controller.ask()
    if not hasattr(proposal, "genotype"):
        raise FaultError(f"{what} must give a Proposal, not a {type(proposal).__name__}")
    genotype = whole_numbers(proposal.genotype)
    if genotype is None:
        given = one_line(repr(proposal.genotype))
        raise FaultError(f"{what} must give a genotype of whole numbers, not {given}")
    if isinstance(proposal, Proposal):
        proposal = replace(proposal, fidelity=checked_fidelity(proposal.fidelity, what))
        # A genotype of numpy's numbers equals one of ints, but cannot be written.
        plain = type(proposal.genotype) is tuple and all(type(answer) is int for answer in proposal.genotype)
        if plain and proposal.number == number:
            return proposal
        return replace(proposal, number=number, genotype=genotype)
    return Proposal(number, genotype)


def checked_fidelity(fidelity: Any, what: str) -> float | None:
    """Gives the fidelity that a controller or a scheduler wants, numpy's numbers as a float.

    Args:
        fidelity: a number above 0, or None for the usual one.
        what: the call that has given it.

    Raises:
        FaultError: if it is something else.
    """
    if fidelity is None:
        return None
    number = as_number(fidelity)
    if not matches(number, Fidelity):
        raise FaultError(f"{what}: fidelity must be {describe(Fidelity)}, or None, not {fidelity!r}")
    return number


def tell(controller: AskTell, proposal: Proposal, reward: Reward) -> None:
    """Tells a controller a reward.

    Raises:
        FaultError: if it fails.
    """
    with reraise_as(f"{type(controller).__name__}.tell"):
        controller.tell(proposal, reward)


def learn_evidence(controller: LearnsFromEvidence, proposal: Proposal, evidence: Evidence) -> None:
    """Gives a controller what was measured.

    Raises:
        FaultError: if it fails.
    """
    with reraise_as(f"{type(controller).__name__}.learn_evidence"):
        controller.learn_evidence(proposal, evidence)


def decode(space: Space, genotype: Genotype) -> Candidate:
    """Decodes a genotype.

    Raises:
        FaultError: if the space fails, or the genotype is not of the space, or the key is no text.
    """
    name = type(space).__name__
    try:
        with reraise_as(f"{name}.decode"):
            spec = space.decode(genotype)
    except GenotypeError as error:
        raise FaultError(f"the controller proposes {genotype}, which is not of the space: {error}") from None
    refuse_no_spec(spec, name)
    with reraise_as(f"{name}.key"):
        key = space.key(spec)
    if not isinstance(key, str) or not key:
        raise FaultError(f"{name}.key must give a text, not {one_line(repr(key))}")
    return Candidate(genotype, spec, key)


def text_of(space: Space, candidate: Candidate) -> str:
    """Gives the spec of a candidate as the journal keeps it, JSON.

    Raises:
        FaultError: if the spec gives no text.
    """
    with reraise_as(f"{type(space).__name__}'s spec"):
        return spec_text(candidate.spec, candidate.genotype)


def refuse_no_spec(spec: object, name: str) -> None:
    """Refuses None in the place of a spec.

    Args:
        spec: what the space has decoded.
        name: of the space's class.

    Raises:
        FaultError: if there is none.
    """
    if spec is None:
        raise FaultError(f"{name}.decode must give a spec, not None; is a return missing?")
