"""Objects for `--json` about labs and what would change in them: a contract, as those of json.py are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.report.changes import change_objects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnetlab.converge import Comparison
    from vnetlab.plan import Step
    from vnetlab.report.json import JsonObject
    from vnetlab.state import State
    from vnetlab.status import LabStatus


def status_object(labs: tuple[LabStatus, ...], drifts: Mapping[str, Comparison] | None = None) -> JsonObject:
    """Return the object of `status --json`; with ``drifts`` that of `status --drift --json`."""
    found = drifts or {}
    return {
        "labs": [
            {
                **({"drift": _drift(found[lab.name])} if lab.name in found else {}),
                "name": lab.name,
                "holder": lab.holder,
                "nodes": {
                    node.name: {"kind": node.kind, "backend": node.backend, "host": node.host}
                    for node in lab.nodes
                },
            }
            for lab in labs
        ]
    }


def _drift(found: Comparison) -> JsonObject:
    return {"changes": change_objects(found.plan.steps), "beyond": list(found.beyond)}


def plan_object(lab: str, steps: tuple[Step, ...], state: State) -> JsonObject:
    """Return the object of `plan --json`: the steps in order, and each node's nftables text."""
    return _plan(lab, steps, state, up=False)


def changes_object(lab: str, found: Comparison) -> JsonObject:
    """Return the object of `plan --json` for a lab that is up."""
    return _plan(lab, found.plan.steps, found.desired, up=True, beyond=found.beyond)


def _plan(
    lab: str, steps: tuple[Step, ...], state: State, *, up: bool, beyond: Sequence[str] = ()
) -> JsonObject:
    return {
        "lab": lab,
        "up": up,
        "steps": [step.describe() for step in steps],
        "changes": change_objects(steps),
        "beyond": list(beyond),
        "nftables": {
            namespace.name: [table.render() for table in namespace.tables]
            for namespace in state.namespaces
            if namespace.tables
        },
    }
