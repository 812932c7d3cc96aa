"""What survives: the stores of the supervisor."""
