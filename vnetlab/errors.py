"""Every error that vnetlab raises on purpose, and whose move it is.

::

    VnetlabError                     exit 4   ours, or the machine's
    |-- UserError                    exit 2   yours: the text says what to write instead
    |   |-- TopologyError                     the file, every problem of it at once
    |   |-- LabExists                         a lab of that name is up
    |   |-- LabNotFound                       no lab, or more than one to choose from
    |   `-- NodeNotFound                      no such VM, host or machine
    |-- FeatureUnavailable           exit 3   the machine's: what to install or switch on
    |-- Interference               exit 1   the machine's own rules are in the way of its promises
    |-- KernelError                  exit 4   the kernel refused one step; everything was undone
    `-- LabLost                      exit 4   the lab ended while it was in use

Errors of libraries are translated once, where they are caught, with ``from``.
"""

from msgspec import Struct

from vnetlab.visible import visible


class Place(Struct, frozen=True, order=True):
    """A position in a topology file; lines and columns count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return visible(self.file)
        return f"{visible(self.file)}:{self.line}:{self.column}"


class Problem(Struct, frozen=True, order=True):
    """One thing wrong with a topology: place, thing, value, what is wrong, remedy."""

    place: Place
    thing: str
    """Dotted path of the element, such as ``hosts.hv1.networks.home.subnets[0]``."""
    value: str
    """The offending value as written, shortened; empty where something is missing."""
    wrong: str
    remedy: str

    def __str__(self) -> str:
        value = f" {self.value}:" if self.value else ""
        return f"{self.place}: " + visible(f"{self.thing}:{value} {self.wrong}; {self.remedy}")


class Absent(Struct, frozen=True):
    """A kernel feature or library that was tried and is not there."""

    feature: str
    evidence: str
    """What was tried and what the kernel answered."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.feature}: {self.evidence}; {self.remedy}"


class VnetlabError(Exception):
    """Base of all errors; ``exit_code`` is what the command line ends with."""

    exit_code = 4


class UserError(VnetlabError):
    """The user's move."""

    exit_code = 2


class TopologyError(UserError):
    """A topology that cannot be built; carries every problem found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LabExists(UserError):
    """A lab of this name is up already."""


class LabNotFound(UserError):
    """No lab of this name is up, or the name was left out and several are."""


class NodeNotFound(UserError):
    """The lab has no node of this name."""


class FeatureUnavailable(VnetlabError):
    """The machine lacks something that the topology needs; nothing was made."""

    exit_code = 3

    def __init__(self, absent: tuple[Absent, ...]) -> None:
        self.absent = absent
        super().__init__("\n".join(str(one) for one in absent))


class Interference(VnetlabError):
    """Rules that this machine has besides would break what the lab promises; nothing was made."""

    exit_code = 1


class KernelError(VnetlabError):
    """The kernel refused a step."""


class LabLost(VnetlabError):
    """The lab ended while it was in use."""
