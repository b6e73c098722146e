"""A space of independent choices, such as the operations of a fixed cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search_space.decisions import Decision, Genotype
from search_space.space import NotInSpaceError, Space


@dataclass(frozen=True, init=False)
class ChoiceSpace(Space):
    """A space whose specs are tuples of labels, one for each decision; no two compute the same function.

    Args:
        choices: the options by the name of the decision, in order, such as {"edge 1": ["skip", "conv"], ...}.
        text: the form of a key, with {} for every label in turn, such as `|{}~0|+|{}~1|`. If it is None, the
            labels are joined with "|".

    Raises:
        ValueError: if there are no decisions, a decision has no options or one twice, the number of {} in
            `text` is not that of the decisions, or an option holds what separates them in `text`.
    """

    choices: tuple[tuple[str, tuple[str, ...]], ...]
    text: str

    def __init__(self, choices: Mapping[str, Sequence[object]], text: str | None = None) -> None:
        if not isinstance(choices, Mapping):
            raise ValueError(f"choices must be a mapping of names to lists, not {choices!r}")
        for name, given in choices.items():
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ValueError(f"{name}: options must be a list, not {given!r}")
        fixed = tuple((str(name), tuple(map(str, labels))) for name, labels in choices.items())
        if not fixed:
            raise ValueError("a space needs at least one decision")
        for name, labels in fixed:
            if not labels or len(set(labels)) < len(labels):
                raise ValueError(
                    f"{name}: a decision needs at least one option, all different, not {list(labels)}"
                )
        if text is None:
            text = "|".join(["{}"] * len(fixed))
        if text.count("{}") != len(fixed) or text.count("{") + text.count("}") != 2 * len(fixed):
            raise ValueError(f"text needs one {{}} for each of the {len(fixed)} decisions, not {text!r}")
        for (name, labels), between in zip(fixed, text.split("{}")[1:-1], strict=False):
            # The separator must not occur in a label, nor begin within its end.
            if not between or any((label + between).find(between) != len(label) for label in labels):
                raise ValueError(
                    f"{name}: no option may hold {between!r}, which follows it in the key; give another text"
                )
        object.__setattr__(self, "choices", fixed)
        object.__setattr__(self, "text", text)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """One decision for each choice."""
        return tuple(Decision(name, labels) for name, labels in self.choices)

    @property
    def num_specs(self) -> int:
        """The exact number of distinct specs: no two genotypes give the same one."""
        return self.size

    def decode(self, genotype: Genotype) -> tuple[str, ...]:
        """Returns the labels of a genotype.

        Raises:
            GenotypeError: if the genotype does not answer the decisions.
        """
        self.check(genotype)
        return tuple(labels[answer] for (_, labels), answer in zip(self.choices, genotype, strict=True))

    def encode(self, spec: Sequence[str]) -> Genotype:
        """Returns the numbers of the options.

        Raises:
            NotInSpaceError: if a label is no option of its decision.
        """
        if not isinstance(spec, (tuple, list)):
            raise NotInSpaceError(f"a spec of this space is a tuple of labels, not {type(spec).__name__}")
        if len(spec) != len(self.choices):
            raise NotInSpaceError(f"{spec} answers {len(spec)} of {len(self.choices)} decisions")
        for label, (name, labels) in zip(spec, self.choices, strict=True):
            if label not in labels:
                raise NotInSpaceError(f"{name} has no option {label!r}")
        return tuple(labels.index(label) for label, (_, labels) in zip(spec, self.choices, strict=True))

    def key(self, spec: Sequence[str]) -> str:
        """Returns the labels in one text, as tables of scores name a spec."""
        return self.text.format(*spec)
