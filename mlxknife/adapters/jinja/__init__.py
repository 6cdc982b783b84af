"""Chat templates through Jinja, in processes that can be killed."""
