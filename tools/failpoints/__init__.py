"""The service with a place to die at: `python -m tools.failpoints --config FILE --point NAME`.

What a process leaves behind when it dies is what it did to its surroundings: the books, the chain, the metered
service, the client's connection. So every death is one of those before, within or after such a step, and these are the
failpoints: doubles around the four, never code in the service, which has no way to be told to die.
"""
