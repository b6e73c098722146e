"""The update of a policy: it raises what was good, leaves its inputs alone, and tells what it saw."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from controllers import PolicyGradient
from controllers.policy import Policy
from controllers.policy_gradient import MovingBaseline
from controllers.policy_update import Batch, UpdateSettings, clipped_surrogate, update_policy
from search_space.choices import ChoiceSpace
from tests.controllers.landscapes import CELLS, cell_score

EIGHT = ChoiceSpace({f"d{i}": ["a", "b"] for i in range(8)})

SETTINGS = UpdateSettings(method="ppo", epochs=4, clip=0.2, entropy_coef=0.0, imitation_coef=0.0)


def small_batch(policy: Policy, count: int = 6) -> Batch:
    """Proposals of the policy itself, the first three good and the others bad."""
    rng, sampler = np.random.default_rng(0), policy.sampler()
    drawn = [sampler.draw(rng) for _ in range(count)]
    genotypes = [genotype for genotype, _ in drawn]
    return Batch(
        genotypes=torch.tensor(genotypes),
        allowed=torch.from_numpy(np.stack([policy.allowed_options(g) for g in genotypes])),
        log_probs=torch.tensor([log_prob for _, log_prob in drawn]),
        advantages=torch.tensor([1.0] * 3 + [-1.0] * (count - 3)),
    )


def new_policy() -> Policy:
    torch.manual_seed(0)
    return Policy(CELLS.decisions, 16)


@pytest.mark.parametrize("method", ["ppo", "reinforce"])
def test_good_proposals_become_likelier_and_bad_ones_less_likely(method: str) -> None:
    policy = new_policy()
    batch = small_batch(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    update_policy(policy, optimizer, batch, replace(SETTINGS, method=method))  # type: ignore[arg-type]
    change = policy(batch.genotypes, batch.allowed)[0].detach() - batch.log_probs
    assert bool((change[:3].mean() > 0) & (change[3:].mean() < 0))


def test_imitation_makes_the_elite_likelier() -> None:
    policy = new_policy()
    batch = small_batch(policy)
    # The last two are the elite: they have neither an advantage nor an old log-probability.
    batch = replace(batch, log_probs=batch.log_probs[:4], advantages=torch.zeros(4))
    before = policy(batch.genotypes, batch.allowed)[0].detach()
    update_policy(
        policy, torch.optim.Adam(policy.parameters(), lr=0.01), batch, replace(SETTINGS, imitation_coef=15.0)
    )
    after = policy(batch.genotypes, batch.allowed)[0].detach()
    assert bool((after[4:] > before[4:]).all())


def test_the_same_inputs_give_the_same_update() -> None:
    """The update is a function: it keeps nothing and draws nothing."""
    found = []
    for _ in range(2):
        policy = new_policy()
        batch = small_batch(policy)
        kept = batch.advantages.clone(), batch.log_probs.clone()
        optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
        found.append((update_policy(policy, optimizer, batch, SETTINGS), policy.marginal.detach().clone()))
        assert torch.equal(batch.advantages, kept[0])
        assert torch.equal(batch.log_probs, kept[1])
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_the_divergence_is_none_before_the_first_step_and_grows_with_the_steps() -> None:
    found = []
    for epochs in (1, 2, 8):
        policy = new_policy()
        optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
        settings = replace(SETTINGS, epochs=epochs)
        found.append(update_policy(policy, optimizer, small_batch(policy), settings))
    assert found[0].approx_kl == pytest.approx(0, abs=1e-6)
    assert found[0].clip_fraction == 0
    assert found[0].surrogate == pytest.approx(0, abs=1e-6)  # Ratios of 1, advantages of mean 0.
    assert 0 < found[1].approx_kl < found[2].approx_kl
    assert found[2].clip_fraction > 0
    assert all(each.entropy > 0 for each in found)
    assert found[0].gradient_norm > 0


def test_the_clipped_surrogate_by_hand() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    expected = (1.2 - 1.5 + 0.5 - 0.8 + 2.2) / 5
    assert float(clipped_surrogate(ratio, advantages, 0.2)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "a2c"}, "method must be ppo or reinforce, not 'a2c'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
        ({"clip": 0.0}, "clip must be a number above 0, not 0.0"),
        ({"entropy_coef": -1.0}, "entropy_coef must be a number of at least 0, not -1.0"),
    ],
)
def test_wrong_settings_of_an_update_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_a_moving_baseline_is_the_first_mean_and_then_follows() -> None:
    baseline = MovingBaseline(0.9)
    assert baseline.advantages(np.array([1.0, 3.0])).tolist() == pytest.approx([-1, 1])
    assert bool((baseline.advantages(np.array([100.0, 100.0])) > 0).all())
    for _ in range(100):
        baseline.advantages(np.array([1.0, 3.0]))
    assert baseline.advantages(np.array([-1e6, 2.0])).tolist() == pytest.approx(
        [-3, 0.3], abs=0.2
    )  # Cut at 3.


def test_the_controller_keeps_and_logs_the_diagnostics(caplog: pytest.LogCaptureFixture) -> None:
    controller = PolicyGradient(CELLS, 0, batch=5)
    with caplog.at_level(logging.DEBUG, "controllers"):
        for asked in range(1, 11):
            proposal = controller.ask()
            controller.tell(proposal, cell_score(proposal.genotype))
            assert (controller.diagnostics is None) == (asked < 5)
    assert controller.diagnostics is not None
    assert controller.diagnostics.approx_kl > 0
    assert 0 <= controller.diagnostics.clip_fraction <= 1
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "update after 5 rewards",
        "update after 10 rewards",
    ]


@pytest.mark.parametrize("annealing", [1.0, 0.25])
def test_the_loss_by_hand(annealing: float) -> None:
    torch.manual_seed(3)
    policy = Policy(EIGHT.decisions, 8)
    with torch.no_grad():
        policy.weight.normal_()
        policy.marginal.normal_()
    genotypes = torch.tensor([[0] * 8, [1] * 8, [0, 1] * 4, [1, 1, 0, 0] * 2])
    allowed = torch.ones(4, 8, 2, dtype=torch.bool)
    log_probs, entropies = (found.detach() for found in policy(genotypes, allowed))
    advantages = torch.tensor([1.0, -0.5])
    found = update_policy(
        policy,
        torch.optim.SGD(policy.parameters(), lr=0.1),
        Batch(genotypes=genotypes, allowed=allowed, log_probs=log_probs[:2], advantages=advantages),
        UpdateSettings(method="reinforce", epochs=1, clip=0.2, entropy_coef=0.3, imitation_coef=2.0),
        annealing,
    )
    surrogate = float((log_probs[:2] * advantages).mean())
    imitation = 2.0 * float(log_probs[2:].mean()) / 8
    entropy = float(entropies[:2].mean())
    assert (found.surrogate, found.entropy) == pytest.approx((surrogate, entropy))
    assert found.loss == pytest.approx(-(surrogate + imitation + 0.3 * annealing * entropy))
