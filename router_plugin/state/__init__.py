"""What has been seen and spent."""
