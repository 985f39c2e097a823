"""The challenges' data over HTTP: what lies where, what of it is missing, and how it gets here whole."""

from kidney_lab.data.download.source import RemoteFile, Source

__all__ = ["RemoteFile", "Source"]
