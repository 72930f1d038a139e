"""Audio files, the front end, and augmentation."""
