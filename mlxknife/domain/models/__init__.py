"""Values that several subjects share, and the rules that read file names and configs."""
