"""Labs broken on purpose, one fault at a time, and whether the suite of guarantees notices.

::

    faults.faults_of(topology, state) -> tuple[Fault, ...]       every fault, as the State that it makes
    equivalence.Equivalence(...)                                 does the model tell a fault from no fault?
    run.mutate(lab, ...) -> score.Score                          each fault applied, probed and undone

A suite that passes says little until one knows what it would not notice. All but `run` is pure.
"""
