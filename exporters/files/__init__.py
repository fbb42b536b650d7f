"""Files and folders on disk: their digests (`hashing`), writing them in one step (`atomic`), and locks (`locks`)."""
