"""What `anomaly` draws: scores over steps, the worst incidents, where in frames the model is wrong, the worst clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .anomaly_tables import Incident, Place, Series, most_contributing, overlapping
from .opened import Opened

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from ...anomaly import Scores
    from ...datasets.clips import Clips
    from ...thresholds import Thresholds
    from ...visualize import IncidentSeries

_DRAWN = 4
_INCIDENTS = 6  # that are drawn


def draw_scores(
    opened: Opened,
    place: Path,
    series: Sequence[Series],
    thresholds: npt.NDArray[np.float64],
    clips: Sequence[Place],
    scores: Scores,
) -> None:
    """Scores over the steps of the sequences with the most anomalous clips."""
    from ...visualize import ScoredSeries, save_scored_series

    by_score = dict.fromkeys(clips[row].id for row in scores.sequences.argsort(descending=True).tolist())
    places = {one.id: place for place, one in enumerate(series)}
    chosen = [places[name] for name in list(by_score)[:_DRAWN]]
    drawn = [ScoredSeries(*series[place][:3], float(thresholds[place])) for place in chosen]
    save_scored_series(place / "anomaly.png", drawn)
    print(f"plot     {opened.folder / 'anomaly.png'}")


def draw_incidents(
    opened: Opened,
    place: Path,
    clips: Clips,
    incidents: Sequence[Incident],
    explained: Sequence[npt.NDArray[np.float64]],
    places: Sequence[Place],
    names: Sequence[str],
) -> None:
    """The features that explain the worst incidents most, as they were before, then, and after."""
    import numpy as np

    from ...anomaly import average_windows
    from ...visualize import IncidentSeries, save_incidents

    worst = sorted(range(len(incidents)), key=lambda row: -incidents[row].series.scores[incidents[row].peak])
    offsets = np.array(opened.trained_on.offsets or 0.0)
    drawn: list[IncidentSeries] = []
    for incident, of_features in ((incidents[row], explained[row]) for row in worst):
        rows = overlapping(incident, places, beside=2 * max(place.steps for place in places))
        if not rows or len(drawn) == _INCIDENTS:
            continue
        starts = np.array([places[row].start for row in rows])
        frames = clips.__getitems__(rows).flatten(2).double().numpy() + offsets  # (B, T, F)
        steps = int(starts.max() - starts.min()) + frames.shape[1]
        values = {
            names[feature]: average_windows(frames[:, :, feature], starts - starts.min(), steps)
            for feature in most_contributing(of_features)
        }
        during = incident.series.steps[[incident.first, incident.last]].tolist()
        drawn.append(IncidentSeries(incident.series.id, starts.min() + np.arange(steps), values, *during))
    if drawn:
        save_incidents(place / "anomaly-incidents.png", drawn)
        print(f"worst    {opened.folder / 'anomaly-incidents.png'}")


def draw_where(
    opened: Opened, place: Path, clips: Clips, scores: Scores, places: Sequence[Place], thresholds: Thresholds
) -> None:
    """A GIF of the anomalous frames of the most anomalous clips, or of all of the worst, and where in them the model is
    wrong."""
    import numpy as np

    from ...anomaly import rebuild
    from ...patches import unit_range
    from ...visualize import Moment, save_where_gif

    known = thresholds.values.get
    worst = scores.sequences[: len(places)].argsort(descending=True)[:_DRAWN].tolist()
    batch = clips.__getitems__(worst)
    frames, made = unit_range(batch).numpy(), rebuild(opened.model, batch, opened.model.config.predicted_frames).numpy()

    def above(of: int, threshold: float) -> list[Moment]:
        """The frames of one of these clips with higher scores."""
        row = worst[of]
        return [
            Moment(f"{places[row].id}, frame {places[row].start + step}", frames[of, step], made[of, step])
            for step in range(places[row].steps)
            if scores.steps[row, step] > threshold
        ]

    anomalous = [
        moment for of, row in enumerate(worst) for moment in above(of, known(places[row].id, known("", np.inf)))
    ]
    save_where_gif(place / "anomaly-where.gif", anomalous or above(0, -np.inf), opened.model.config.patch_size)
    print(f"where    {opened.folder / 'anomaly-where.gif'}")


def draw_clips(opened: Opened, place: Path, clips: Clips, scores: torch.Tensor) -> None:
    """A GIF of the most anomalous clip, and a strip of the first few."""
    from ...evaluation import predict_clips
    from ...visualize import save_clip_gif, save_sheet, save_strip

    worst = scores.argsort(descending=True)[:_DRAWN].tolist()
    drawn = predict_clips(opened.model, clips.__getitems__(worst), opened.device)
    save_clip_gif(place / "anomaly-worst.gif", drawn[0])
    save_strip(place / "anomaly-strip.png", drawn)
    save_sheet(place / "anomaly-sheet.png", drawn)
    print(f"worst    {opened.folder / 'anomaly-worst.gif'} and, with others, {opened.folder / 'anomaly-strip.png'}")
