"""Files of the user as documents: walked, checked, read."""
