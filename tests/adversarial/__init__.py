"""Servers that answer wrongly at random, and a state machine that drives the whole pipeline against them.

What is checked: whatever the servers answer, no object is lost with exit code 0, none is torn, and every job adds up.
"""
