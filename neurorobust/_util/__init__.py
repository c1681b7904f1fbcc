"""Helpers that know neither networks nor chips: errors, console, files, random numbers, discovery."""
