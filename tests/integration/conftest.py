"""Where these tests find the modules they share: tests are no package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
os.environ["WORKERHOST__MONITORING__HTTP"] = "null"  # no dashboard for pools that tests start; theirs name one
