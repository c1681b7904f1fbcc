"""The time loops that numba compiles. Compiled code is kept on disk until any file of this folder changes."""
