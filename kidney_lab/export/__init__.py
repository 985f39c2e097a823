"""Results that leave the program: label maps as DICOM, tables and pictures of a case, and trained methods to share."""
