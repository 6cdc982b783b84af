"""OpenAI's API: what clients send, what they receive, and what its errors look like."""
