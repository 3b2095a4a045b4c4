"""Training that several recipes share."""
