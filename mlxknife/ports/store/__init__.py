"""What the domain needs of the cache on disk."""
