"""What peers say and ask: sessions, requests, orders."""
