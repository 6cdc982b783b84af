"""Pure rules of runtime compatibility."""
