"""The API: one table of what can be asked and ordered over HTTP. The documents are those of the command line's --json.

The functions of the table translate between a request that was checked and a client's call, and decide nothing.
"""

from __future__ import annotations

from typing import Final

from . import api_flows, api_pool, api_schedules, api_selection, api_tasks

OPERATIONS: Final = (
    *api_pool.OPERATIONS,
    *api_selection.OPERATIONS,
    *api_tasks.OPERATIONS,
    *api_flows.OPERATIONS,
    *api_schedules.OPERATIONS,
)
"""All there is below `/api`, beside the document of it and the stream of events."""
