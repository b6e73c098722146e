"""A space of independent choices, such as the operations of a fixed cell: decisions with their options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search_space.decisions import Decision, Genotype
from search_space.space import NotInSpaceError, Space


@dataclass(frozen=True, init=False)
class ChoiceSpace(Space):
    """Specs are tuples of labels, one for each decision; every one is its own function.

    Args:
        choices: options by decision, in order, such as {"edge 1": ["skip", "conv"], ...}.
        text: how a spec is written as its key, with {} for every label in turn, such as `|{}~0|+|{}~1|`;
            None: the labels joined with "|".

    Raises:
        ValueError: if there are no decisions, one has no options or the same one twice, or `text` has more or
            fewer places than there are decisions, or what parts them stands in an option.
    """

    choices: tuple[tuple[str, tuple[str, ...]], ...]
    text: str

    def __init__(self, choices: Mapping[str, Sequence[object]], text: str | None = None) -> None:
        if not isinstance(choices, Mapping):
            raise ValueError(f"choices must be a mapping of names to lists, not {choices!r}")
        for name, found in choices.items():
            if isinstance(found, str) or not isinstance(found, Iterable):
                raise ValueError(f"{name}: options must be a list, not {found!r}")
        fixed = tuple((str(name), tuple(map(str, labels))) for name, labels in choices.items())
        if not fixed:
            raise ValueError("a space needs at least one decision")
        for name, labels in fixed:
            if not labels or len(set(labels)) < len(labels):
                raise ValueError(f"{name}: options must be there and differ, not {list(labels)}")
        if text is None:
            text = "|".join(["{}"] * len(fixed))
        if text.count("{}") != len(fixed) or text.count("{") + text.count("}") != 2 * len(fixed):
            raise ValueError(f"text needs one {{}} for each of the {len(fixed)} decisions, not {text!r}")
        for (name, labels), between in zip(fixed, text.split("{}")[1:-1], strict=False):
            # No end of a label and beginning of what follows may look like an end of the label either.
            if not between or any((label + between).find(between) != len(label) for label in labels):
                raise ValueError(
                    f"{name}: no option may hold {between!r}, which ends it in the key; give another text"
                )
        object.__setattr__(self, "choices", fixed)
        object.__setattr__(self, "text", text)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """One for each choice."""
        return tuple(Decision(name, labels) for name, labels in self.choices)

    def decode(self, genotype: Genotype) -> tuple[str, ...]:
        """The labels."""
        self.check(genotype)
        return tuple(labels[answer] for (_, labels), answer in zip(self.choices, genotype, strict=True))

    def encode(self, spec: Sequence[str]) -> Genotype:
        """The options' numbers."""
        if len(spec) != len(self.choices):
            raise NotInSpaceError(f"{spec} answers {len(spec)} of {len(self.choices)} decisions")
        for label, (name, labels) in zip(spec, self.choices, strict=True):
            if label not in labels:
                raise NotInSpaceError(f"{name} has no option {label!r}")
        return tuple(labels.index(label) for label, (_, labels) in zip(spec, self.choices, strict=True))

    def key(self, spec: Sequence[str]) -> str:
        """The labels in one string, as tables of scores name a spec."""
        return self.text.format(*spec)
