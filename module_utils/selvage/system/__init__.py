"""What any daemon needs of its node."""
