"""Back ends of PyNN, one file each: a new one needs a new file and no entry in a list."""
