"""What would become of a packet in a State: followed hop by hop as Linux handles it, without a kernel.

::

    model.Model(state).send(node, flow) -> journey.Journey     one flow, its answers and errors, hop by hop
    matrix.predict(topology, state, guarantees)                every guarantee's outcome in the model

A State is read the same way whether it was compiled or read back from a kernel. Where the State holds
something that the model does not know, the answer is that it does not know: it never guesses.
"""
