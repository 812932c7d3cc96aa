"""What the hosts of compose.yaml run: put your own workers here."""

from workerhost import worker


@worker("text.length")
def length(text: str) -> int:
    """How many characters a text has."""
    return len(text)
