"""Genotypes as numbers: what a model sees of them."""

from __future__ import annotations

import numpy as np
import pytest

from search_space import ScalePermutedSpace, graph_features, published_space
from search_space import encoding as module
from search_space.encoding import Encoding
from tests.controllers.landscapes import CELLS

SPINENET_49 = published_space("spinenet-49")
assert isinstance(SPINENET_49, ScalePermutedSpace)
SPINENET = SPINENET_49


def test_each_decision_has_one_label() -> None:
    rng = np.random.default_rng(0)
    genotypes = [CELLS.sample(rng) for _ in range(50)]
    (labels,) = Encoding(CELLS).encode(genotypes)
    assert labels.shape == (50, sum(len(decision.labels) for decision in CELLS.decisions))
    assert set(np.unique(labels)) == {0.0, 1.0}
    assert (labels.sum(1) == len(CELLS.decisions)).all()
    distinct = {tuple(row) for row in labels}
    assert len(distinct) == len(set(genotypes))


def test_options_of_one_label_are_the_same() -> None:
    """SpineNet-49 has several base blocks of one level, whose exchange changes nothing."""
    genotype = SPINENET.sample(np.random.default_rng(1))
    decision = SPINENET.decisions[0]
    same = [i for i, label in enumerate(decision.labels) if label == decision.labels[genotype[0]]]
    other = next(option for option in same if option != genotype[0])
    place = genotype[: sum(d.group == decision.group for d in SPINENET.decisions)].index(other)
    exchanged = list(genotype)
    exchanged[0], exchanged[place] = exchanged[place], exchanged[0]
    labels, _ = Encoding(SPINENET).encode([genotype, tuple(exchanged)])
    np.testing.assert_array_equal(labels[0], labels[1])


def test_a_graph_adds_its_features() -> None:
    genotype = SPINENET.sample(np.random.default_rng(2))
    _, features = Encoding(SPINENET).encode([genotype])
    known = graph_features(SPINENET.decode(genotype))
    assert features.tolist() == [[known[name] for name in sorted(known)]]


def test_a_feature_that_a_spec_lacks_counts_as_0(monkeypatch: pytest.MonkeyPatch) -> None:
    genotypes = [SPINENET.sample(np.random.default_rng(seed)) for seed in range(2)]
    first = SPINENET.decode(genotypes[0])
    monkeypatch.setattr(module, "graph_features", lambda spec: {"a": 2.0} if spec == first else {})
    assert Encoding(SPINENET).encode(genotypes)[1].tolist() == [[2.0], [0.0]]


def test_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    genotypes = [SPINENET.sample(rng) for _ in range(30)]
    expected = Encoding(SPINENET).encode(genotypes)[1]
    monkeypatch.setattr(module, "MOST_KNOWN", 7)
    encoding = Encoding(SPINENET)
    np.testing.assert_array_equal(encoding.encode(genotypes)[1], expected)
    assert encoding.known <= 7


def test_a_space_without_decisions_has_no_labels() -> None:
    space = ScalePermutedSpace(SPINENET_49.stem[:2], base_levels=(), output_levels=(3,))
    labels, features = Encoding(space).encode([(), ()])
    assert labels.shape == (2, 0)
    assert features.shape[0] == 2


def test_each_decision_has_positions_of_its_own_where_labels_repeat() -> None:
    rng = np.random.default_rng(4)
    labels, _ = Encoding(SPINENET).encode([SPINENET.sample(rng) for _ in range(50)])
    sizes = [len(set(decision.labels)) for decision in SPINENET.decisions]
    assert labels.shape == (50, sum(sizes))
    for one in np.split(labels, np.cumsum(sizes)[:-1], axis=1):
        assert (one.sum(1) == 1).all()
