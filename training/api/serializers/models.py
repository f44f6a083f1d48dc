"""Response bodies of trained models, predictions, evaluations and artifacts."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from training.models import TrainedModel


class ModelSerializer(serializers.ModelSerializer[TrainedModel]):
    """A trained model with its origin and its errors on the test split."""

    job_id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(source="job.name", read_only=True)
    owner = serializers.CharField(source="job.owner.username", read_only=True)
    dataset_id = serializers.UUIDField(source="job.dataset_id", read_only=True, allow_null=True)
    dataset_hash = serializers.CharField(source="job.dataset_hash", read_only=True)
    test = serializers.SerializerMethodField()

    class Meta:
        model = TrainedModel
        fields: ClassVar = [
            "id", "job_id", "name", "owner", "dataset_id", "dataset_hash", "test", "created_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_test(self, model: TrainedModel) -> dict[str, float]:
        return dict(model.evaluation["test"])


class ModelCardSerializer(ModelSerializer):
    card = serializers.DictField(read_only=True, allow_null=True)

    class Meta(ModelSerializer.Meta):
        fields: ClassVar = [*ModelSerializer.Meta.fields, "card"]


class EllipseSerializer(serializers.Serializer[Any]):
    semi_major_m = serializers.FloatField()
    semi_minor_m = serializers.FloatField()
    azimuth_deg = serializers.FloatField(
        help_text="Azimuth of the major axis, clockwise from north."
    )


class PredictionSerializer(serializers.Serializer[Any]):
    sample_id = serializers.CharField(allow_blank=True)
    lat = serializers.FloatField()
    lon = serializers.FloatField()
    covariance_m2 = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="Rows and columns: east, north.",
    )
    ellipse_68 = EllipseSerializer()
    ellipse_95 = EllipseSerializer()
    locator = serializers.CharField(
        help_text="Maidenhead locator of 6 characters, 8 or 10 if the 68 % ellipse is that small."
    )
    receivers = serializers.ListField(
        child=serializers.CharField(), help_text="Receivers that heard the transmission."
    )
    x_m = serializers.FloatField(
        required=False, help_text="Only if the dataset was imported in local meters, as is y_m."
    )
    y_m = serializers.FloatField(required=False)


class PredictionsSerializer(serializers.Serializer[Any]):
    predictions = PredictionSerializer(many=True)


class PositionErrorsSerializer(serializers.Serializer[Any]):
    """Position errors in meters."""

    mean_m = serializers.FloatField()
    rmse_m = serializers.FloatField(allow_null=True)
    median_m = serializers.FloatField()
    p68_m = serializers.FloatField(required=False)
    p95_m = serializers.FloatField()


class TestErrorsSerializer(PositionErrorsSerializer):
    samples = serializers.IntegerField()
    coverage_68 = serializers.FloatField(
        help_text="Share of test positions inside the 68 % ellipse."
    )
    coverage_95 = serializers.FloatField()
    nll = serializers.FloatField(
        help_text="Negative log-likelihood in nats, of a density per square meter."
    )


class MemberErrorsSerializer(PositionErrorsSerializer):
    """A member of the portfolio alone."""

    weight = serializers.FloatField(help_text="Share in the model's position; 0 if it is not used.")


class GoodGeometrySerializer(serializers.Serializer[Any]):
    samples = serializers.IntegerField()
    rmse_m = serializers.FloatField(allow_null=True)
    definition = serializers.CharField()


class EvaluationSerializer(serializers.Serializer[Any]):
    """Results on the test split. Further fields are for the job's page."""

    verdict = serializers.CharField(
        required=False,
        help_text="How the model compares with the best baseline, and what is unreliable.",
    )
    test = TestErrorsSerializer()
    members = serializers.DictField(
        child=MemberErrorsSerializer(),
        required=False,
        help_text="Each member alone; empty without a portfolio. "
        "Evaluations of older versions have neither this nor the verdict.",
    )
    baselines = serializers.DictField(child=PositionErrorsSerializer())
    bound_rmse_m = serializers.FloatField(allow_null=True)
    good_geometry = GoodGeometrySerializer()


class ArtifactSerializer(serializers.Serializer[Any]):
    """A file to download. `bytes` is null for an export that the first download generates."""

    name = serializers.CharField()
    kind = serializers.CharField()
    description = serializers.CharField()
    bytes = serializers.IntegerField(allow_null=True)
    url = serializers.CharField()


class ArtifactsSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ArtifactSerializer(many=True)
