"""Rules that read the files of a model: their names and their configs."""
