"""The cache of huggingface_hub on this machine: implements the ports of ``ports.store`` that read and change it."""
