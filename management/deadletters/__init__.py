"""What could not be stored: looking at it, storing it after all, and saying that it is known."""
