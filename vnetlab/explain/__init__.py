"""The way of one packet in the words of the topology, predicted and observed. Pure but for `live`.

::

    answer.tell_of(topology, guarantee, state)     predicted by a model of a State, with the reason of its end
    compare.compare(predicted, observed)           beside what a lab's own kernels did with the packet
    live.explain_lab(lab, question)                both, for a lab that is up

What is read back from a running lab comes as events in the same vocabulary as the prediction (`event`), so
that neither side can be bent to the other.
"""
