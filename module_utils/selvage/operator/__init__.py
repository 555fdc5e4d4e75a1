"""What a person does and sees on a node: `selvage COMMAND`."""
