"""Speed and memory on four workloads, against other libraries on the same weights and inputs."""
