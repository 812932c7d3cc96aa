"""What peers say and ask: how sessions begin, what clients request, what a person orders."""
