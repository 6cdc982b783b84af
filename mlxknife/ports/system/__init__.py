"""What the domain needs of the machine."""
