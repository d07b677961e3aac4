"""The environment of a pytest that a test runs."""

import os
from importlib.metadata import entry_points
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """Return one that has vnetlab and its plugin, installed or not.

    Without the plugin of hypothesis, which users need not have and which takes each process a second.
    """
    found = os.environ | {"PYTHONPATH": str(_ROOT), "PYTEST_ADDOPTS": "-p no:hypothesispytest"}
    if not any(plugin.name == "vnetlab" for plugin in entry_points(group="pytest11")):
        found["PYTEST_PLUGINS"] = "vnetlab.pytest_plugin"
    return found
