"""What a worker's author reads, and the media workers."""
