"""Bytes as they are found: decompressed, unpacked, decoded, and read line by line."""
