"""Hosts as the supervisor sees them: joined, offering, holding, leaving."""
