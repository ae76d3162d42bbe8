"""The native engine: C11 in this folder, called through ctypes."""
