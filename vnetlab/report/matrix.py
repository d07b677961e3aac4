"""The matrix: who reached whom, one cell per pair, all flows of the pair in one symbol."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.report.cell import Cell
from vnetlab.report.cells import cells_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.predict.groups import Groups
    from vnetlab.report.summary import Report
    from vnetlab.topology.model import Topology


MOST_ROWS = 100
"""Nodes up to which a matrix has a row for each; beyond, one for each group."""


class Row(Struct, frozen=True):
    """One sender and what became of its flows, by receiver in the matrix's order."""

    group: str
    """Where the node is: its host and network, or its segment."""
    name: str
    cells: tuple[Cell, ...]


class Matrix(Struct, frozen=True):
    """Rows are senders, columns receivers, in the same order."""

    rows: tuple[Row, ...]

    @property
    def used(self) -> tuple[Cell, ...]:
        """The kinds of cell that occur, in the legend's order."""
        found = {cell for row in self.rows for cell in row.cells}
        return tuple(cell for cell in Cell if cell in found and cell is not Cell.NONE)


def build_matrix(report: Report, groups: Groups | None = None, *, folded: bool = False) -> Matrix:
    """Sum up every pair of nodes that any guarantee concerns.

    With ``groups`` the verdicts are about the first members of each group, and tell for all of them;
    ``folded`` then gives each group one row instead of one for each of its members.
    """
    alone = cells_of(report.verdicts)
    told = _Told(alone, groups)
    concerned = {told.first(name) for pair in alone for name in pair}
    order = [each for each in grouped(report.topology) if told.first(each[1]) in concerned]
    if folded:
        order = [(group, name) for group, name in order if told.first(name) == name]
    return Matrix(
        tuple(
            Row(
                group,
                told.title(name) if folded else name,
                tuple(told.cell(name, other, itself=folded) for _, other in order),
            )
            for group, name in order
        )
    )


class _Told:
    """The cells of all pairs, told by the pairs that were asked about."""

    def __init__(self, cells: Mapping[tuple[str, str], Cell], groups: Groups | None) -> None:
        self._cells = cells
        self._members = {n: group for group in (groups.members if groups else ()) for n in group}

    def first(self, name: str) -> str:
        """Return the node that tells for this one."""
        return self._members.get(name, (name,))[0]

    def title(self, name: str) -> str:
        """Return the name of a group: that of its first member, and how many there are."""
        size = len(self._members.get(name, (name,)))
        return name if size == 1 else f"{name} \N{MULTIPLICATION SIGN}{size}"

    def cell(self, source: str, destination: str, *, itself: bool) -> Cell:
        """Return the cell of a pair; ``itself``: what a group's members are to each other."""
        near, far = self.first(source), self.first(destination)
        if near == far:
            if (source == destination and not itself) or len(self._members.get(near, ())) == 1:
                return Cell.NONE
            far = self._members.get(near, (near, near))[1]
        return _with_reverse(self._cells, near, far)


def grouped(topology: Topology) -> tuple[tuple[str, str], ...]:
    """Return every node with its group: VMs by first network, hosts, then machines by segment."""
    vms = [(f"{v.host}/{v.nics[0].network}" if v.nics else v.host, v.name) for v in topology.vms.values()]
    networks = [f"{network.host}/{network.name}" for network in topology.networks]
    rank = {name: number for number, name in enumerate(networks)}
    vms.sort(key=lambda entry: rank.get(entry[0], len(rank)))
    hosts = [("host", name) for name in topology.hosts]
    machines = [("+".join(str(nic.lan) for nic in m.nics), m.name) for m in topology.machines.values()]
    return (*vms, *hosts, *machines)


def by_network(report: Report) -> Matrix:
    """Sum up every pair of networks and segments, a row for the nodes of each."""
    places = {name: group if group != "host" else name for group, name in grouped(report.topology)}
    cells = cells_of(report.verdicts, places)
    concerned = {place for pair in cells for place in pair}
    sizes = Counter(places.values())
    order = [place for place in sizes if place in concerned]
    return Matrix(
        tuple(
            Row(
                place,
                f"\N{MULTIPLICATION SIGN}{sizes[place]}",
                tuple(_with_reverse(cells, place, other) for other in order),
            )
            for place in order
        )
    )


def _with_reverse(cells: Mapping[tuple[str, str], Cell], source: str, destination: str) -> Cell:
    cell = cells.get((source, destination), Cell.NONE)
    back = cells.get((destination, source), Cell.NONE)
    if cell is Cell.BOTH and back in (Cell.REJECTED, Cell.SILENT):
        return Cell.OUT
    return cell
