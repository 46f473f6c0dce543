"""The version, in one place and without imports."""

VERSION = "0.1.0"
