"""What a job leaves to take away: checkpoints, the model, its card, exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.models import Job
from training.predictor import EXPORT_SECONDS, predictor

MODEL = "model.pt"
_KNOWN = {
    "best.pt": ("checkpoint", "the best epoch, with what resuming needs"),
    MODEL: ("model", "what an answer needs, calibrated"),
    "card.json": ("card", "data, settings, seed, versions, metrics"),
}
_EXPORTS = {
    "model.pt2": ("export", "torch.export; made and checked at the first download"),
    "model.onnx": ("export", "ONNX; made and checked at the first download"),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """`bytes` None: it is made when it is first asked for."""

    name: str
    kind: str
    description: str
    path: Path

    @property
    def bytes(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None


def of(job: Job) -> list[Artifact]:
    """All that the job's newest run has to offer; nothing before its first checkpoint."""
    if not job.checkpoint_path:
        return []
    newest = Path(job.checkpoint_path)
    folder = newest.parent
    found = {name: what for name, what in _KNOWN.items() if (folder / name).exists()}
    if newest.name not in found and newest.exists():
        found[newest.name] = ("checkpoint", "the newest epoch, with what resuming needs")
    if MODEL in found:
        found.update(_EXPORTS)
    return [Artifact(name, *what, folder / name) for name, what in found.items()]


def ready(artifact: Artifact) -> Path:
    """Its file, exported first where it has to be; Refused or NoAnswer where that fails."""
    if not artifact.path.exists():
        question = {
            "do": "export",
            "model": str(artifact.path.with_name(MODEL)),
            "output": str(artifact.path),
        }
        predictor().ask(question, EXPORT_SECONDS)
    return artifact.path
