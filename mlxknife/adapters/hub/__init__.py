"""The Hugging Face Hub, through huggingface_hub and its HTTP client: implements ``ports.hub.hub``."""
