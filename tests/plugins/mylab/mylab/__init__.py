"""What our laboratory brings to vgbdm."""
