"""How long a job may take before it counts as hung, and before a second worker tries it too."""

from __future__ import annotations

from bisect import insort

from nas.executors.job import Decision, Job

MEDIAN_OF, LEAST_SECONDS = 5, 60.0
"""Jobs whose times must be known before another counts as hung, and the seconds that each may take."""

SECOND_CHANCE = 4
"""A trial that was ended for its time may take this many times as long when it runs again."""

SLOW, LEAST_SLOW_SECONDS = 2.0, 5.0
"""A job is tried by a second worker, if one is idle, once it takes `SLOW` times as long as the median one and
at least `LEAST_SLOW_SECONDS`: to begin anew is not worth it for less."""


Kind = tuple[bool, bool, int]
"""Jobs of one kind take alike: whether they are of finalists, whether they go on from another trial, and from
which step."""


class Patience:
    """Learns from the jobs that ended how long others of their kind may take.

    Args:
        time_limit: seconds that any job may take; None to learn the limit.
        times: factor; a job may take this factor times the median time of the jobs at its fidelity. None sets
            no such limit.
    """

    def __init__(self, time_limit: float | None, times: float | None) -> None:
        self._time_limit, self._times = time_limit, times
        self._whole: dict[Kind, list[float]] = {}
        self._paused: dict[Kind, list[float]] = {}
        self._paused_at: dict[Kind, int] = {}
        self._went_on_at: dict[Kind, int] = {}
        self._overdue: set[int] = set()

    def learn(self, job: Job, seconds: float, *, whole: bool = True) -> None:
        """Notes how long a job took; a later attempt tells nothing, as it may have gone on with a checkpoint.

        Args:
            job: that has ended well.
            seconds: how long it took.
            whole: whether it was completed; False for one that was paused.
        """
        if job.attempt:
            return
        paces = (self._whole if whole else self._paused).setdefault(_kind(job), [])
        insort(paces, seconds / job.fidelity)

    def note_decision(self, job: Job, step: int, decision: Decision) -> None:
        """Notes where jobs are paused and where they go on: the times of paused ones tell only of their like.

        Args:
            job: that has reported.
            step: of its report.
            decision: the answer.
        """
        kind = _kind(job)
        if decision is Decision.PAUSE:
            self._paused_at[kind] = min(step, self._paused_at.get(kind, step))
        elif decision is Decision.CONTINUE:
            self._went_on_at[kind] = max(step, self._went_on_at.get(kind, step))

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
        usual = self._usual(job) or self._usual_of_all(job)
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
        """Seconds of the median job of this one's kind, at its fidelity; None if too few are known."""
        pace = self._pace(_kind(job))
        return None if pace is None else pace * job.fidelity

    def _usual_of_all(self, job: Job) -> float | None:
        """Seconds of a whole training that is done in parts, one of each kind; no job takes longer.

        It is None where some jobs of a kind are paused and others, which take longer, are not.
        """
        kinds = [kind for kind in {*self._whole, *self._paused} if not kind[0]]
        if any(self._pace(kind) is None and self._outlasts_pauses(kind) for kind in kinds):
            return None
        paces = [pace for kind in kinds if (pace := self._pace(kind)) is not None]
        return sum(paces) * job.fidelity if paces else None

    def _pace(self, kind: Kind) -> float | None:
        """Seconds of the median job of a kind at fidelity 1; None if too few are known.

        Paused jobs count only while no job of their kind is known to take longer.
        """
        paces = self._whole.get(kind, [])
        if len(paces) < MEDIAN_OF:
            paces = [] if self._outlasts_pauses(kind) else self._paused.get(kind, [])
        count = len(paces)
        if count < MEDIAN_OF:
            return None
        # They are sorted: with a hundred workers this is asked a hundred times at each event.
        return (paces[(count - 1) // 2] + paces[count // 2]) / 2

    def _outlasts_pauses(self, kind: Kind) -> bool:
        """Whether some jobs of a kind are paused, and another was completed or went on at the same step."""
        if not self._paused.get(kind):
            return False
        paused_at, went_on_at = self._paused_at.get(kind), self._went_on_at.get(kind)
        goes_on = paused_at is not None and went_on_at is not None and went_on_at >= paused_at
        return goes_on or bool(self._whole.get(kind))


def _kind(job: Job) -> Kind:
    return job.apart, job.resume_folder is not None, job.start
