"""Tasks that come after others: dependencies, flows, and results handed on."""
