"""Rules of runtime compatibility."""
