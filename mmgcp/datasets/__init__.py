"""Data that MMPretrain and MMDetection do not have."""
