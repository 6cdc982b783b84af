"""A folder of model files on a filesystem: fulfils ``ports.snapshot_reader``."""
