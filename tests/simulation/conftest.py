"""What tests of the simulation share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # tests are no package: this is how they share how a mutant is caught
