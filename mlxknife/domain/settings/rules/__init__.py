"""Rules of settings: which values are valid, and which of several sources decides."""
