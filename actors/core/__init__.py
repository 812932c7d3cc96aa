"""What happens to a task is decided here: plain objects, no clock, no socket, no thread, no database."""
