"""Helpers without any knowledge of networks or chips: errors, console, files, random numbers, discovery."""
