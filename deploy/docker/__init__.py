"""What the image needs besides the sources: its command and its health check."""
