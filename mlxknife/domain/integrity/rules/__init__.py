"""Rules of integrity: structure, safetensors headers, hashes."""
