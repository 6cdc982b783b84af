"""The services behind list, show and every command that needs a runnable model."""
