"""Random inputs are judged by what comes out, never by how long it took on a busy machine."""

from hypothesis import settings

settings.register_profile("retainer", deadline=None)
settings.load_profile("retainer")
