"""The workshop: everything that needs PyTorch (models, training, export). Install it with `pip install
intaglio[train]`.
"""
