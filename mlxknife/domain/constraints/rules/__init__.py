"""Rules of constraints: which schemas are supported, and the grammars of constraints."""
