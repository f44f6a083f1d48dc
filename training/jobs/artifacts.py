"""The downloadable files of a job: checkpoints, the model, its card, exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.inference.client import EXPORT_SECONDS, inference_client
from training.models import Job
from training.programs.checkpoint_files import BESTS, MODEL, SUFFIX, newest_first
from training.programs.messages import ExportRequest

BEST = f"best{SUFFIX}"
_KNOWN = {
    MODEL: ("model", "Calibrated model for inference"),
    "card.json": ("card", "Model card: data, settings, seed, versions, metrics"),
}
_EXPORTS = {
    "model.pt2": ("export", "torch.export (generated on first download)"),
    "model.onnx": ("export", "ONNX (generated on first download)"),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to download. `bytes` is None until an export is first requested."""

    name: str
    kind: str
    description: str
    path: Path

    @property
    def bytes(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None


def list_artifacts(job: Job) -> list[Artifact]:
    """The artifacts of the newest attempt; none before its first checkpoint."""
    if not job.checkpoint_path:
        return []
    newest = Path(job.checkpoint_path)
    folder = newest.parent
    found = [Artifact(name, *what, folder / name) for name, what in _KNOWN.items()]
    # The file names its epoch; who takes it away need not know that.
    for best in newest_first([folder], BESTS)[:1]:
        found.append(Artifact(BEST, "checkpoint", "Best checkpoint (resumable)", best))
        if newest.name != best.name:
            what = "checkpoint", "Latest checkpoint (resumable)"
            found.append(Artifact(newest.name, *what, newest))
    there = [one for one in found if one.path.exists()]
    if (folder / MODEL) in {one.path for one in there}:
        there += [Artifact(name, *what, folder / name) for name, what in _EXPORTS.items()]
    return there


def ensure_exported(artifact: Artifact) -> Path:
    """The path of the file, exported first if needed.

    Raises InferenceError or InferenceUnavailableError if the export fails.
    """
    if not artifact.path.exists():
        request = ExportRequest(
            model=str(artifact.path.with_name(MODEL)), output=str(artifact.path)
        )
        inference_client().request(request, EXPORT_SECONDS)
    return artifact.path
