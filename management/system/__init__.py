"""What the installation says of itself: the books."""
