"""What `vnetlab doctor` looks at on this machine. Nothing is changed; what is tried ends with the try."""
