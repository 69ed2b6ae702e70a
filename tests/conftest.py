import os

os.environ["GOMP_SPINCOUNT"] = "0"

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
