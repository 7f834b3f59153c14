"""What the stand-ins of Google's services have in common."""
