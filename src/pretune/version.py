"""The version, in one place and without imports."""

VERSION = "0.2.0"
