"""What the domain needs to run models."""
