"""Tests of a method: it forgot the same rows of several originals, each trained from its own seed, and is compared with oracles."""
