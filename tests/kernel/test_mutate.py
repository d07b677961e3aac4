"""Faults in a real lab: each is noticed by packets, and nothing is left of any of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from machine import snapshot
from vnetlab.kernel.agent import Agent
from vnetlab.mutate import bench as benches
from vnetlab.mutate.bench import Bench
from vnetlab.mutate.faults import faults_of
from vnetlab.mutate.run import mutate
from vnetlab.topology.model import Topology

pytestmark = pytest.mark.kernel

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
COMMAND = [sys.executable, "-m", "vnetlab", "mutate"]
