"""Python functions as tools, through msgspec."""
