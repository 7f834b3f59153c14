"""The storage contract as every backend keeps it; what a stand-in cannot do is written down in `backends`."""
