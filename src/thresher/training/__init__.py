"""The one loop, and what it stands on: schedule, augmentation, snapshots, checkpoints."""
