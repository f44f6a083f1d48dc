"""The manifest of the built-in program: the interface of localization to the rest of Heimdall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from heimdall_sdk.messages import Objective
from training.localization.config import GenerateConfig, ImportConfig, TrainConfig
from training.localization.data.dataset import Dataset
from training.localization.evaluation.dataset_summary import summarize
from training.localization.geometry import LocalFrame
from training.localization.importing import importer
from training.localization.importing.preview import preview_import
from training.localization.importing.readings import read_readings
from training.localization.synthetic.generate import generate_dataset
from training.programs.datasets import DatasetFormat, ReadDataset, Upload
from training.programs.manifest import Preset, Program
from training.programs.metrics import Chart, Metric, MetricRegistry

_distance = partial(Metric, unit="m", direction="minimize", format="distance")
_percent = partial(Metric, unit="%", format="percent")

METRICS = MetricRegistry(
    Metric(name="train_loss", title="Training loss", direction="minimize"),
    Metric(name="val_loss", title="Validation loss", direction="minimize"),
    _distance(name="train_rmse", title="Training RMSE"),
    _distance(
        name="val_rmse",
        title="Validation RMSE",
        short_title="RMSE",
        description="Root mean squared position error on the validation split.",
    ),
    _distance(name="val_mean", title="Mean error", short_title="Mean"),
    _distance(name="val_median", title="Median error", short_title="Median"),
    _distance(name="val_p68", title="68th percentile error", short_title="68th percentile"),
    _distance(name="val_p95", title="95th percentile error", short_title="95th percentile"),
    _distance(
        name="val_rmse_good_geom",
        title="Validation RMSE, good geometry",
        short_title="RMSE, good geometry",
        description="RMSE of the samples that can be located well (for times: GDOP < 5).",
    ),
    Metric(name="val_good_geom_samples", title="Samples with good geometry"),
    Metric(
        name="val_nll", title="Negative log-likelihood", short_title="NLL", direction="minimize"
    ),
    _percent(
        name="val_coverage_68", title="Coverage of the 68 % ellipses", short_title="68 % coverage"
    ),
    _percent(
        name="val_coverage_95", title="Coverage of the 95 % ellipses", short_title="95 % coverage"
    ),
    Metric(name="learning_rate", title="Learning rate", digits=3),
)

PRESETS = (
    Preset(
        "quick",
        "Quick",
        "About a minute, to check that it trains.",
        {"epochs": 20, "hidden": 64, "layers": 1, "patience": 10},
    ),
    Preset("standard", "Standard", "The defaults, for about ten thousand samples."),
    Preset(
        "thorough",
        "Thorough",
        "A larger network and 300 epochs.",
        {"epochs": 300, "hidden": 256, "layers": 3, "learning_rate": 5e-4, "patience": 40},
    ),
    Preset(
        "powder",
        "POWDER, 462 MHz",
        "For the POWDER dataset: an ensemble of 5.",
        {"model": "mlp", "members": 5, "epochs": 80, "batch_size": 64},
    ),
)


def to_read_dataset(dataset: Dataset) -> ReadDataset:
    return ReadDataset(dataset.kind, dataset.content_hash, summarize(dataset), dataset.save)


def _read_folder(folder: Path, options: ImportConfig) -> ReadDataset:
    return to_read_dataset(importer.read_folder(folder, config=options))


def _read_upload(
    upload: Upload, workspace: Path, max_bytes: int, options: ImportConfig
) -> ReadDataset:
    return to_read_dataset(importer.read_upload(upload, workspace, max_bytes, options))


def _generate(options: GenerateConfig) -> ReadDataset:
    return to_read_dataset(generate_dataset(options))


def _project(
    origin: tuple[float, float], lat: Sequence[float], lon: Sequence[float]
) -> list[tuple[float, float]]:
    places = LocalFrame(*origin).to_local(lat, lon)
    return [(float(east), float(north)) for east, north in places]


PROGRAM = Program(
    name="localizer",
    title="Transmitter localization",
    command=("python", "-m", "training.localization"),
    inference_command=("-m", "training.localization", "serve"),
    parameters=TrainConfig,
    metrics=METRICS,
    objective=Objective(metric="val_loss", direction="minimize"),
    headline="val_rmse",
    figures=("val_rmse", "val_median", "val_p95"),
    charts=(
        Chart(name="loss", title="Loss", metrics=("train_loss", "val_loss")),
        Chart(
            name="error",
            title="Error",
            metrics=("train_rmse", "val_rmse", "val_rmse_good_geom"),
            logarithmic=True,
        ),
    ),
    table=(
        "train_loss", "val_loss", "val_rmse", "val_median", "val_p95", "val_rmse_good_geom",
        "val_coverage_68", "learning_rate",
    ),
    main_parameters=("epochs", "batch_size", "learning_rate", "patience"),
    network_parameters=("model", "members", "hidden", "layers", "heads"),
    presets=PRESETS,
    datasets=DatasetFormat(
        import_options=ImportConfig,
        generation_options=GenerateConfig,
        read_folder=_read_folder,
        read_upload=_read_upload,
        preview=partial(preview_import, summarize=summarize),
        read_readings=read_readings,
        generate=_generate,
        project=_project,
    ),
)  # fmt: skip
