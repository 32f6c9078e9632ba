"""Interactions to train on: MovieLens folders, a download, or a synthetic set."""

from rowbank_trainer.data.dataset import Catalogue, Dataset, Interactions, Split, split
from rowbank_trainer.data.movielens import load_movielens
from rowbank_trainer.data.source import open_dataset
from rowbank_trainer.data.synthetic import synthetic_dataset

__all__ = [
    "Catalogue",
    "Dataset",
    "Interactions",
    "Split",
    "load_movielens",
    "open_dataset",
    "split",
    "synthetic_dataset",
]
