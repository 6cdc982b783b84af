"""The Hugging Face cache on disk: fulfils ``ports.model_store``."""
