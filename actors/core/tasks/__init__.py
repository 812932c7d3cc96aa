"""A task's way from SUBMIT to its end: taken in, edited, ended, tried again."""
