"""The clinical table of KiTS: one typed row per patient, and what can be read off it."""

from kidney_lab.data.clinical.read import clinical_file, read_clinical

__all__ = ["clinical_file", "read_clinical"]
