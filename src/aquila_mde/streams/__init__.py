"""The declarative files of the streams: where they are, how they are read, what is amiss."""
