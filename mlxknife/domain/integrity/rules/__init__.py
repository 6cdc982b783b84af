"""Pure rules of integrity: structure, safetensors headers, hashes."""
