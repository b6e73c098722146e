"""What `nas versus` trains: the winner, published networks and random specs, as equal as can be.

All are trained by one task: the same data, budget, head, image size and scale. R50-FPN is fitted to the
winner's multiply-adds by its width. Random specs are drawn until one costs about as much as the winner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.analysis.settings import RANDOM, VersusConfig
from nas.analysis.trainings import StudyTraining
from nas.config import ConfigError
from nas.search.ask_tell import decode
from nas.search.checking import costs_of
from nas.utils.terminal import amount
from proxy_tasks.adapted_task import AdaptedTask
from search_space import R50FPNSpec, Space, Spec, load_spec
from search_space.resnet_fpn.fitting import fit_r50_fpn

WINNER = "winner"

DRAWS = 300
"""So many random specs are drawn at most to find one that costs about as much as the winner."""

NEAR = 0.05
"""Up to this relative difference multiply-adds count as equal."""


@dataclass(frozen=True, kw_only=True)
class VersusTraining:
    """Tells a training from the others of its comparison.

    Args:
        key: of the spec.
        seed: of the training.
    """

    key: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One of those that are compared.

    Args:
        name: such as "r50-fpn".
        about: how it was made.
        specs: what is trained, one spec for each seed; mostly the same one.
        keys: of the specs.
    """

    name: str
    about: str
    specs: tuple[Any, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All trainings of a comparison.

    Args:
        entries: the winner first.
        seeds: of the trainings of each.
        fidelity: of the trainings.
        notes: what a reader should know.
    """

    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    fidelity: float
    notes: tuple[str, ...]

    def trainings(self) -> dict[VersusTraining, StudyTraining]:
        """Gives all trainings seed by seed, so that a comparison that is cut off is balanced."""
        found: dict[VersusTraining, StudyTraining] = {}
        for i, seed in enumerate(self.seeds):
            for entry in self.entries:
                training = StudyTraining(
                    label=f"{entry.name}, seed {seed}",
                    spec=entry.specs[i],
                    fidelity=self.fidelity,
                    seed=seed,
                )
                # A spec that two entries have with one seed is trained once.
                found.setdefault(VersusTraining(key=entry.keys[i], seed=seed), training)
        return found

    def trainings_of(self, entry: Entry) -> list[VersusTraining]:
        """Gives the trainings of an entry, by seed."""
        return [VersusTraining(key=key, seed=seed) for key, seed in zip(entry.keys, self.seeds, strict=True)]


def plan_versus(winner: Spec, origin: str, space: Space, task: AdaptedTask, config: VersusConfig) -> Plan:
    """Decides what is trained.

    Args:
        winner: the spec that is compared.
        origin: where it comes from.
        space: that random specs are drawn from.
        task: trains all of them.
        config: what it is compared with.

    Raises:
        SpecError: if a name or a file of `against` holds no spec.
    """
    costs = KnownCosts(task)
    target, count = costs.macs(winner), config.seeds
    entries = [_same(WINNER, origin, winner, count)]
    notes = (
        []
        if target is not None
        else [f"{task.name} does not report multiply-adds, so no network is fitted to the winner's"]
    )
    for source in dict.fromkeys(config.against):
        if source == RANDOM:
            entry, note = _random_entry(winner, space, costs, target, config)
        else:
            entry, note = _named_entry(source, costs, target, count)
        notes += [note] if note else []
        same = next((other.name for other in entries if other.keys == entry.keys), None)
        if same is not None:
            notes.append(f"{entry.name} is the same network as {same} and is left out")
        else:
            entries.append(_with_free_name(entry, {other.name for other in entries}))
    seeds = tuple(range(config.seed, config.seed + count))
    return Plan(entries=tuple(entries), seeds=seeds, fidelity=config.fidelity, notes=tuple(notes))


class KnownCosts:
    """What a task knows of a spec before any training.

    Args:
        task: of the trainings.
    """

    def __init__(self, task: AdaptedTask) -> None:
        self._task = task

    def of(self, spec: Any) -> Mapping[str, float]:
        """All that is known; empty if the task tells nothing.

        Raises:
            ValueError: if no network can be made of the spec.
            FaultError: if the task fails otherwise.
        """
        return costs_of(self._task, spec)

    def macs(self, spec: Any) -> float | None:
        """Multiply-adds for one image; None if the task does not tell them."""
        return self.of(spec).get("macs")


def _same(name: str, about: str, spec: Spec, count: int) -> Entry:
    """One spec for all seeds."""
    return Entry(name=name, about=about, specs=(spec,) * count, keys=(spec.key(),) * count)


def _named_entry(source: str, costs: KnownCosts, target: float | None, count: int) -> tuple[Entry, str]:
    """A published spec or that of a file; R50-FPN as large as the winner."""
    spec = load_spec(source)
    name = Path(source).stem if source.endswith(".json") else source
    if not isinstance(spec, R50FPNSpec) or target is None:
        return _same(name, f"at the winner's scale{_times(costs.macs(spec), target)}", spec, count), ""
    spec = fit_r50_fpn(lambda candidate: costs.macs(candidate) or 0.0, target)
    found = costs.macs(spec) or 0.0
    about = f"width {spec.width:g}, fitted to the winner's multiply-adds"
    note = ""
    if abs(found - target) > NEAR * target:
        note = (
            f"{name} cannot be made as large as the winner: at width {spec.width:g} it has "
            f"{amount(found)} multiply-adds"
        )
        about = f"width {spec.width:g}{_times(found, target)}"
    return _same(name, about, spec, count), note


def _times(macs: float | None, target: float | None) -> str:
    """How its multiply-adds are to the winner's; "" where they are about the same, or not known."""
    if macs is None or not target or abs(macs - target) <= NEAR * target:
        return ""
    return f", {macs / target:.3g} times the winner's multiply-adds"


def _random_entry(
    winner: Spec, space: Space, costs: KnownCosts, target: float | None, config: VersusConfig
) -> tuple[Entry, str]:
    """For each seed another random spec that costs about as much as the winner."""
    specs, keys, off = [], [], 0
    for seed in range(config.seed, config.seed + config.seeds):
        spec, key, near = _draw(space, costs, target, seed, winner.key())
        specs.append(spec)
        keys.append(key)
        off += not near
    about = "a different random spec of the space for each seed"
    notes = []
    if target is not None and not off:
        about += f", with the winner's multiply-adds within {NEAR:.0%}"
    elif target is not None:
        notes.append(f"{off} of {config.seeds} random specs cost more or less than the winner; see the table")
    if not space.contains(winner):
        notes.append(
            "random specs are from another space than the winner; give the winner's space with space="
        )
    return Entry(name=RANDOM, about=about, specs=tuple(specs), keys=tuple(keys)), "; ".join(notes)


def _draw(
    space: Space, costs: KnownCosts, target: float | None, seed: int, other: str
) -> tuple[Any, str, bool]:
    """A random spec, its key, and whether it costs about as much as the target."""
    rng = np.random.default_rng((seed, 14))
    best: tuple[float, Any, str] | None = None
    for _ in range(DRAWS):
        found = decode(space, space.sample(rng))
        if found.key == other:
            continue
        try:
            macs = costs.macs(found.spec) if target is not None else None
        except ValueError:  # At this scale no network can be made of it.
            continue
        distance = abs(macs - target) / target if macs is not None and target else 0.0
        if best is None or distance < best[0]:
            best = (distance, found.spec, found.key)
        if distance <= NEAR:
            return found.spec, found.key, True
    if best is None:
        raise ConfigError("space: it has no other network than the winner; leave random out of against=")
    return best[1], best[2], False


def _with_free_name(entry: Entry, taken: set[str]) -> Entry:
    """The entry, with a number behind its name if another has that name."""
    names = (entry.name, *(f"{entry.name}-{i}" for i in range(2, len(taken) + 3)))
    return replace(entry, name=next(name for name in names if name not in taken))
