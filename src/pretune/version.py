"""The version, in one place and without imports."""

VERSION = "0.3.0"
