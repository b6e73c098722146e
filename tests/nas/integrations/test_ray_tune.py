"""Controllers as searchers of Ray Tune, with real Tune."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controllers import PolicyGradient, Proposal, RegularizedEvolution, Reward
from nas.integrations.ray_tune import TuneSearcher, trainable
from proxy_tasks.synthetic import SyntheticTask, synthetic_score
from search_space import published_space

SPACE = published_space("r35-sp18")

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.slow
def test_a_controller_searches_in_tune_under_asha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    told: dict[int, Reward] = {}

    class Watched(RegularizedEvolution):
        def tell(self, proposal: Proposal, reward: Reward) -> None:
            told[proposal.number] = reward
            super().tell(proposal, reward)

    ray.init(
        address="local",  # Another Ray may run on this machine.
        num_cpus=2,
        log_to_driver=False,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(os.sys.path)}},  # type: ignore[attr-defined]
    )
    try:
        task = SyntheticTask(reports=8, failing=0.1)
        searcher = TuneSearcher(SPACE, Watched(SPACE, 0, trials=8))
        found = tune.Tuner(
            trainable(task, SPACE),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=8,
                reuse_actors=True,
                max_concurrent_trials=2,
                scheduler=ASHAScheduler(
                    metric="reward", mode="max", time_attr="step", max_t=9, grace_period=2
                ),
            ),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    results = [found[i] for i in range(len(found))]
    assert len(told) == len(found) == 8
    steps = [result.metrics["step"] for result in results if not result.error and result.metrics]
    assert min(steps) < 9 == max(steps), "some are stopped early and some are not"
    for result in results:
        if result.error or not result.metrics or result.metrics["step"] < 9:
            continue
        spec = SPACE.decode(tuple(result.metrics["config"]["genotype"]))
        assert result.metrics["reward"] == pytest.approx(synthetic_score(spec))
        assert result.metrics["reward"] in told.values()


def test_a_restored_searcher_goes_on_as_it_would_have(tmp_path: Path) -> None:
    def make() -> TuneSearcher:
        return TuneSearcher(SPACE, PolicyGradient(SPACE, 3, trials=40, batch=4))

    def go(searcher: TuneSearcher, first: int, count: int) -> list[object]:
        asked: list[object] = []
        for number in range(first, first + count):
            config = searcher.suggest(str(number))
            asked.append(config["genotype"])
            spec = SPACE.decode(tuple(config["genotype"]))
            result = None if number % 5 == 0 else {"reward": synthetic_score(spec)}
            searcher.on_trial_complete(str(number), result, error=result is None)
        return asked

    whole = make()
    go(whole, 0, 20)
    whole.save(str(tmp_path / "state"))
    restored = make()
    restored.restore(str(tmp_path / "state"))
    assert go(restored, 20, 15) == go(whole, 20, 15)
