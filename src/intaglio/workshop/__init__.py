"""The workshop: everything that needs PyTorch (models, entropy models, training, export).

Without PyTorch, importing any part of it raises a ModuleNotFoundError whose one line names the extra to install.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("this needs torch; install it with: pip install 'intaglio[train]'", name="torch")
