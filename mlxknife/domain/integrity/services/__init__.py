"""The services that inspect and verify model files."""
