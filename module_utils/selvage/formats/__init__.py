"""What programs register, and how it is read."""
