"""How long a job may take before it counts as hung, and before a second worker tries it too."""

from __future__ import annotations

from bisect import insort

from nas.executors.job import Job

MEDIAN_OF, LEAST_SECONDS = 5, 60.0
"""Jobs whose times must be known before another counts as hung, and the seconds that each may take."""

SECOND_CHANCE = 4
"""A trial that was ended for its time may take so many times as long when it runs again."""

SLOW, LEAST_SLOW_SECONDS = 2.0, 5.0
"""A job that takes so many times as long as the median one, and so many seconds, is tried by a second worker,
if one is idle: to begin anew is not worth it for less."""


class Patience:
    """Learns from the jobs that ended how long others may take.

    Args:
        time_limit: seconds that any job may take; None to learn the limit.
        times: a job may take so many times as long as the median job at its fidelity; None for any time.
    """

    def __init__(self, time_limit: float | None, times: float | None) -> None:
        self._time_limit, self._times = time_limit, times
        self._paces: list[float] = []
        self._overdue: set[int] = set()

    def learn(self, job: Job, seconds: float) -> None:
        """Notes how long a completed job took; a later attempt may have gone on with a checkpoint."""
        if job.attempt:
            return
        insort(self._paces, seconds / job.fidelity)

    def end(self, job: Job) -> bool:
        """Notes that a job has taken too long; whether its trial may run once more."""
        first = job.trial not in self._overdue
        self._overdue.add(job.trial)
        return first

    @property
    def is_fixed(self) -> bool:
        """Whether the limit was given, and is not learned."""
        return self._time_limit is not None

    def limit(self, job: Job) -> float | None:
        """Seconds that a job may take; None for any number."""
        if self._time_limit is not None or self._times is None:
            return self._time_limit
        usual = self._usual(job)
        if usual is None:
            return None
        longer = SECOND_CHANCE if job.trial in self._overdue else 1
        return float(round(max(LEAST_SECONDS, self._times * usual * longer)))

    def is_slow(self, job: Job, seconds: float) -> bool:
        """Whether a job that has run for so long is worth a second try beside the first."""
        if self._times is None or seconds <= LEAST_SLOW_SECONDS:
            return False
        usual = self._usual(job)
        return usual is not None and seconds > SLOW * usual

    def _usual(self, job: Job) -> float | None:
        """Seconds of the median job at this one's fidelity; None if too few are known."""
        count = len(self._paces)
        if count < MEDIAN_OF:
            return None
        # They are sorted: with a hundred workers this is asked a hundred times at each event.
        return (self._paces[(count - 1) // 2] + self._paces[count // 2]) / 2 * job.fidelity
