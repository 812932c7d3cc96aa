"""What the pool tells of itself: answers, counts, goals, and reasons."""
