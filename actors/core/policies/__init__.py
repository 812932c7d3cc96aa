"""What a node of the tree allows: rates, quotas, breakers. Each is a promise that holds whatever hosts do."""
