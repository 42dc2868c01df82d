"""The pure kernel: amounts, session states, byte layouts, and the messages of the wire.

Nothing in here touches a network, a clock or the environment; time and keys come in as arguments.
"""
