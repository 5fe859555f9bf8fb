"""What hostile clients send, what every answer to them must be, and how long others wait meanwhile."""
