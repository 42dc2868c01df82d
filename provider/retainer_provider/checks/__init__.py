"""Whether a service can be served as set: what the machine says, and what the chain says, each in a sentence."""
