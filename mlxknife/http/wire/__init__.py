"""The OpenAI formats as types: what comes in and what goes out."""
