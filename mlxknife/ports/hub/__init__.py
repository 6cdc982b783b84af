"""What the domain needs of the Hub and of a package index."""
