"""What a worker answers, if the network loses calls or their answers."""

from __future__ import annotations

from functools import partial

from nas.executors.job import JobResult
from nas.executors.on_ray.worker import Answers
from proxy_tasks.task import Score

END = JobResult(0, 0, "completed", Score(0.5))


def test_a_call_whose_answer_was_lost_gets_the_same_answer_again() -> None:
    answers, begun = Answers(), []

    def tell(step: int) -> None:
        begun.append(step)
        answers.put((step, Score(0.5)) if step < 3 else END)

    heard = [answers.give(call, partial(tell, call)) for call in (1, 1, 2, 3, 3, 3)]
    assert heard == [(1, Score(0.5))] * 2 + [(2, Score(0.5))] + [END] * 3
    assert begun == [1, 2, 3]
