"""The readers of NIR files, one file each. A new one is a new file with a subclass of
:class:`~neurorobust.export.reader.Reader`."""
