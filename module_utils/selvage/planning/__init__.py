"""What has to be done. Pure."""
