"""What the daemon never imports: the stand-in, the demo, chaos and their harness."""
