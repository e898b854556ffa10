"""What holds for all tests."""

from hypothesis import settings

# time is never asserted: an example may take as long as a busy machine needs
settings.register_profile("thresher", deadline=None)
settings.load_profile("thresher")
