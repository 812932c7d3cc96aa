"""Which task comes next: lanes and their windows, turns of tenants, and the tree above that lets them go or not."""
