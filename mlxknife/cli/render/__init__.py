"""Text for people: from values to lines. Everything that comes from outside is made visible on the way."""
