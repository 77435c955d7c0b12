"""What a run trains: the plain task, and GAN fine-tuning on top of it."""
