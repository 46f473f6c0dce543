"""The version, in one place and without imports."""

VERSION = "0.4.0.dev0"
