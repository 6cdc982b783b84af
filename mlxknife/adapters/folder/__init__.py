"""Folders of model files: implements ``SnapshotReader`` and ``Hasher``. No link is followed out of a model."""
