"""Inference: from a trained run and a scan to a label map on the scan's own grid."""
