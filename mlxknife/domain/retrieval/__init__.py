"""Local retrieval: indexes of files, and search in them."""
