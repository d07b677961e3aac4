"""Every fault of a lab, one at a time: asked about in the model, made in the lab, probed, undone.

The model thinks ahead while packets fly. What it calls equivalent is not flown; of what guarantees it says
notice a fault, a few are flown, and all of them where those few did not.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError, UserError, VnetlabError
from vnetlab.guarantees import VerdictKind
from vnetlab.modes import guarantees_for
from vnetlab.mutate.bench import Bench
from vnetlab.mutate.faults import faults_of
from vnetlab.mutate.oracle import Oracle
from vnetlab.mutate.score import Fate, Result, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnetlab.guarantees import Guarantee, Verdict
    from vnetlab.mutate.fault import Fault
    from vnetlab.mutate.oracle import Opinion
    from vnetlab.topology.model import Topology

FEW = 6
"""Guarantees that are flown first."""
REFILLED = 1.1
"""Seconds after which IPv4 says `no route` to a sender again that got other errors just before.

The kernel keeps one budget for both (`ip_error` and `inet_peer_xrlim_allow`); the model does not know it.
"""
CHECKED_EVERY = 50
"""Faults after which the lab is read back."""


class SuiteFailed(VnetlabError):
    """The suite does not hold in a lab without faults, so it can tell nothing about faults."""

    exit_code = 1


def mutate(
    topology: Topology,
    seed: int = 0,
    sample: int | None = None,
    benches: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Return what became of every fault of a topology's lab, or of a sample of them.

    ``benches`` labs are built, and each has one fault at a time. Raises SuiteFailed, FeatureUnavailable,
    KernelError.
    """
    if benches < 1:
        raise UserError(f"{benches} labs: at least one is needed")
    guarantees = guarantees_for(topology)
    with ExitStack() as stack:
        labs = [stack.enter_context(Bench(topology)) for _ in range(benches)]
        state = labs[0].state
        _expect_all(labs[0].fly(guarantees), "before the first fault")
        faults = faults_of(state, seed, sample)
        oracle = Oracle(topology, state, guarantees, faults)
        results = _Run(oracle, guarantees, faults, progress).through(labs)
        for lab in labs:
            lab.check("the faults")
        _expect_all(labs[0].fly(guarantees), "after the last fault")
    return Score(topology.name, seed, results)


def judged(topology: Topology, bench: Bench, faults: Sequence[Fault], seed: int = 0) -> Score:
    """Return what became of chosen faults in a lab that is there, the suite itself not being asked first."""
    guarantees = guarantees_for(topology)
    oracle = Oracle(topology, bench.state, guarantees, faults)
    return Score(topology.name, seed, _Run(oracle, guarantees, tuple(faults), None).through([bench]))


def _expect_all(verdicts: Sequence[Verdict], when: str) -> None:
    failed = [v for v in verdicts if v.kind in (VerdictKind.BROKEN, VerdictKind.INCONCLUSIVE)]
    if failed:
        first = failed[0]
        raise SuiteFailed(
            f"{when}, {len(failed)} of {len(verdicts)} guarantees do not hold; "
            f"the first is {first.guarantee.id}: {first.reason}"
        )


class _Run:
    """The faults on their way through the labs."""

    def __init__(
        self,
        oracle: Oracle,
        guarantees: Sequence[Guarantee],
        faults: tuple[Fault, ...],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._oracle = oracle
        self._guarantees = guarantees
        self._faults = faults
        self._progress = progress
        self._results: dict[int, Result] = {}
        self._waiting: SimpleQueue[tuple[int, Opinion] | None] = SimpleQueue()
        self._stopped = False

    def through(self, labs: list[Bench]) -> tuple[Result, ...]:
        with ThreadPoolExecutor(len(labs)) as pool:
            workers = [pool.submit(self._work, lab) for lab in labs]
            try:
                self._sort_all(labs)
                for worker in workers:
                    worker.result()
            except BaseException:
                self._stopped = True  # or the pool waits until every fault has had its turn
                raise
        return tuple(self._results[number] for number in range(len(self._faults)))

    def _sort_all(self, labs: list[Bench]) -> None:
        try:
            for number, fault in enumerate(self._faults):
                if self._stopped:
                    break
                self._sort(number, fault)
        finally:
            self._end(labs)

    def _sort(self, number: int, fault: Fault) -> None:
        opinion = self._oracle.opinion(fault)
        if opinion.equivalent:
            self._note(number, Result(fault, Fate.EQUIVALENT))
        else:
            self._waiting.put((number, opinion))

    def _end(self, labs: list[Bench]) -> None:
        import sys

        if sys.exc_info()[0] is not None:
            self._stopped = True
            while True:
                try:
                    self._waiting.get_nowait()
                except Empty:
                    break
        for _ in labs:
            self._waiting.put(None)

    def _work(self, lab: Bench) -> None:
        try:
            for count in range(1, len(self._faults) + 1):
                found = self._waiting.get()
                if found is None or self._stopped:
                    return
                number, opinion = found
                fault = self._faults[number]
                self._note(number, self._in_lab(lab, fault, opinion))
                if count % CHECKED_EVERY == 0:
                    lab.check(fault.id)
        except BaseException:
            self._stopped = True
            raise

    def _in_lab(self, lab: Bench, fault: Fault, opinion: Opinion) -> Result:
        try:
            lab.change(lab.state, fault.state)
        except KernelError as refused:
            lab.renew()
            return Result(fault, Fate.SURVIVED, doubt=f"the kernel does not take it: {refused}")
        if not opinion.noticed_by:
            time.sleep(REFILLED)
        chosen = _few(self._guarantees, opinion.noticed_by or opinion.doubtful)
        verdicts = lab.fly(tuple(self._guarantees[n] for n in chosen))
        broken = _broken(verdicts)
        if not broken:
            verdicts = lab.fly(self._guarantees)
            broken = _broken(verdicts)
        if fault.object == "accept_ra":
            lab.renew()
        else:
            lab.change(fault.state, lab.state)
        if broken:
            return Result(fault, Fate.KILLED, broken)
        unsure = next((v.reason for v in verdicts if v.kind is VerdictKind.INCONCLUSIVE), "")
        return Result(fault, Fate.SURVIVED, (), opinion.witness, opinion.unknown or unsure)

    def _note(self, number: int, result: Result) -> None:
        self._results[number] = result
        if self._progress:
            self._progress(len(self._results), len(self._faults))


def _broken(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    return tuple(v for v in verdicts if v.kind is VerdictKind.BROKEN)


def _few(guarantees: Sequence[Guarantee], numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return a few of the guarantees, of as many promises as there are."""
    by_promise: dict[str, list[int]] = {}
    for number in numbers:
        by_promise.setdefault(guarantees[number].id, []).append(number)
    ordered = sorted(((rank, number) for group in by_promise.values() for rank, number in enumerate(group)))
    return tuple(number for _, number in ordered[:FEW])
