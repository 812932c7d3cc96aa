"""What a pool shows over HTTP: an API in JSON, pages for monitoring tools, and the dashboard."""
