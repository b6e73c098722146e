"""Which decisions went with the rewards, and what chance shows."""

from __future__ import annotations

import numpy as np
import pytest

from nas.reporting.importance import chance_level, importance


def test_importance_finds_the_decision_that_matters() -> None:
    rng = np.random.default_rng(0)
    genotypes = rng.integers(0, 4, (300, 5))
    rewards = 2.0 * genotypes[:, 3] + rng.normal(size=300)
    shares = importance(genotypes.tolist(), rewards.tolist())
    variance = 4 * 1.25
    assert shares[3] == pytest.approx(variance / (variance + 1), abs=0.05)
    assert max(shares[:3] + shares[4:]) < 0.05
    assert importance(genotypes.tolist(), [1.0] * 300) == [0.0] * 5
    assert max(shares[:3] + shares[4:]) < chance_level(genotypes.tolist(), rewards.tolist()) < shares[3]


def test_what_chance_shows_is_rarely_passed_without_a_cause() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(100):
        genotypes, rewards = rng.integers(0, 6, (30, 40)).tolist(), rng.normal(size=30).tolist()
        passed += max(importance(genotypes, rewards)) > chance_level(genotypes, rewards)
    assert passed <= 14  # 5 % on average; more than 14 of 100 has p < 0.001.
