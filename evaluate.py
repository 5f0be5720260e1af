"""Judge a trained model: what it predicts, and what its encoder is worth.

python evaluate.py runs/demo                                         # predict: metrics, GIFs, a strip, curves
python evaluate.py runs/demo --tasks classify --labels direction     # accuracy against labelled clips per class
python evaluate.py runs/demo --tasks probe                           # what the code contains without fine-tuning
python evaluate.py --compare runs/one runs/other                     # which pretraining
python evaluate.py runs/mnist --dataset moving-mnist-file --data-dir mnist_test_seq.npy
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from datasets.config import DIGIT_LABELS, DataConfig, add_data_flags
from video_ae import cli
from video_ae.config import FUTURE, LOSS_NAMES, FineTuning, add_fine_tuning_flags, from_json
from video_ae.tables import compare_table, curve_lines, curve_table, probe_table, table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from datasets.labelled import LabelledVideos
    from video_ae.models import LSTMAutoencoder
    from video_ae.run_folder import RunFolder

_GENERATED_CLIPS = 1000  # for testing, of a data set that has no end
_LABELLED_CLIPS = 2000  # for training classifiers and probes, of such a data set
_DRAWN_CLIPS = 8
_NEIGHBOURS = 5
_SEEDS = 5
_SMALL_SET = 50  # videos per class, up to which the curve ends with all of them


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="folder that train.py wrote")
    parser.add_argument(
        "--compare", type=Path, nargs="+", metavar="RUN", help="predict and classify with each, in one table"
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="(default: predict)")
    parser.add_argument(
        "--clips",
        type=cli.positive,
        metavar="N",
        help=f"test clips (default: {_GENERATED_CLIPS} generated ones, or all there are)",
    )
    parser.add_argument(
        "--future-frames", type=cli.positive, metavar="N", help="how far to predict (default: as far as in training)"
    )
    parser.add_argument("--seed", type=cli.natural, default=0, help="of generated test clips (default: 0)")
    parser.add_argument("-b", "--batch-size", type=cli.positive, default=50, metavar="N", help="(default: 50)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="(default: RUN/evaluation, or a folder in it that is named after what the flags change)",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    group = parser.add_argument_group("classify and probe")
    group.add_argument(
        "--labels", choices=DIGIT_LABELS, help="what moving digits are classified by (default: identity)"
    )
    group.add_argument(
        "--labels-per-class",
        type=cli.positive,
        nargs="+",
        metavar="N",
        help="(default: 1 2 5 10 and, of up to 50, all)",
    )
    group.add_argument(
        "--num-seeds", type=cli.positive, metavar="N", help=f"repetitions of every training (default: {_SEEDS})"
    )
    group.add_argument(
        "--two-stream", type=Path, metavar="RUN", help="average the scores with this run's, classified before"
    )
    add_fine_tuning_flags(parser)
    add_data_flags(parser)
    arguments = parser.parse_args(words)
    if (arguments.run is None) == (arguments.compare is None):
        parser.error("name the RUN to evaluate, or several with --compare")
    if arguments.compare and (arguments.tasks or arguments.two_stream):
        parser.error("--compare predicts and classifies with every run: leave out --tasks and --two-stream")
    arguments.tasks = arguments.tasks or (["predict", "classify"] if arguments.compare else ["predict"])
    for name, tasks in _TASKS_OF_FLAG.items():
        if vars(arguments).get(name) is not None and not tasks & set(arguments.tasks):
            flag = "--" + name.replace("_", "-")
            parser.error(f"{flag} changes nothing for --tasks {' '.join(arguments.tasks)}; leave it out")
    return arguments


class Opened(NamedTuple):
    """A run to evaluate, what to evaluate it on and where the results go."""

    run: RunFolder
    model: LSTMAutoencoder
    device: torch.device
    trained_on: DataConfig
    data: DataConfig
    folder: Path

    def facts(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """What every result says about where it comes from."""
        from video_ae.checkpoint import sequences_seen

        return {"sequences_seen": sequences_seen(self.run.path), "seed": arguments.seed} | self.data.facts()


def open_run(arguments: argparse.Namespace, path: Path) -> Opened:
    from video_ae.models import LSTMAutoencoder
    from video_ae.run_folder import RunFolder

    run = RunFolder(path)
    trained_on = from_json(DataConfig, run.config()["data"], str(run.path / "config.json"))
    data = trained_on.changed_by(vars(arguments))
    refuse_other_split(trained_on, data)
    device = cli.choose_device(arguments.device)
    model = LSTMAutoencoder.from_pretrained(run.path).to(device).eval()
    folder = arguments.output_dir or run.evaluation / difference(vars(arguments))
    return Opened(run, model, device, trained_on, data, folder)


def start_folder(folder: Path, task: str) -> None:
    """Make the folder and remove what this task wrote into it before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob(f"{task}.*"), *folder.glob(f"{task}-*")):
        old.unlink()


def predict(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Reconstruct and predict test clips; write `predict.json` and pictures, print a table and their paths."""
    from tqdm import tqdm

    from datasets.batches import consecutive_indices, load_batches
    from video_ae.checkpoint import write_json
    from video_ae.evaluation import evaluate, evaluate_baselines, mean_frame, predict_clips
    from video_ae.visualize import save_clip_gif, save_error_curves, save_strip

    opened = open_run(arguments, path)
    model, device, data, folder = opened.model, opened.device, opened.data, opened.folder
    split = evaluation_split(opened.trained_on, data)
    if arguments.future_frames and FUTURE not in model.decoders:
        raise ValueError("--future-frames changes nothing for a model without future decoder; leave it out")
    future_frames = arguments.future_frames or model.config.future_frames
    frames = model.config.input_frames + (future_frames if FUTURE in model.decoders else 0)
    dataset = data.open(split, frames, seed=arguments.seed)
    count = arguments.clips or (_GENERATED_CLIPS if dataset.endless else len(dataset))
    if not dataset.endless and count > len(dataset):
        raise ValueError(f"--clips {count}: found {len(dataset)} {split} clips; ask for at most as many")

    def batches(what: str) -> Iterator[torch.Tensor]:
        loaded = load_batches(dataset, consecutive_indices(count, arguments.batch_size))
        return iter(tqdm(loaded, total=-(-count // arguments.batch_size), desc=what, leave=False, disable=None))

    results = evaluate(model, batches("model"), device)
    if results["clips"] != count:
        raise ValueError(f"evaluated {results['clips']} clips, expected {count}: the data set is not what it says")
    judged = FUTURE if FUTURE in model.decoders else "reconstruction"
    mean = mean_frame(batches("mean frame"))
    baselines = evaluate_baselines(model, batches("baselines"), mean, judged, device)
    start_folder(folder, "predict")
    facts = {"baselines": baselines, "split": split, "frames": frames}
    facts |= {"clips_available": None if dataset.endless else len(dataset)} | opened.facts(arguments)
    write_json(folder / "predict.json", results | facts)
    metric = LOSS_NAMES[model.config.output]
    save_error_curves(folder / "predict-steps.png", results, baselines, model.config.input_frames, metric)

    models = {name: results[name] for name in model.decoders}
    print(table(models | {name.replace("_", " "): values for name, values in baselines.items()}))
    of_all = "" if dataset.endless or count == len(dataset) else f" of {len(dataset)}"
    clips_of = "clip" if count == 1 else "clips"
    print(f"\n{count}{of_all} {clips_of} of {data.dataset} ({split}); the baselines are judged on the {judged} frames")
    if not model.config.features:
        clips = predict_clips(model, dataset.__getitems__(range(min(count, _DRAWN_CLIPS))), device)
        for number, clip in enumerate(clips):
            save_clip_gif(folder / f"predict-{number:02d}.gif", clip)
        save_strip(folder / "predict-strip.png", clips[:4])
        print(f"GIFs     {folder / 'predict-00.gif'} to {len(clips) - 1:02d}")
        print(f"strip    {folder / 'predict-strip.png'}")
    print(f"by step  {folder / 'predict-steps.png'}\nmetrics  {folder / 'predict.json'}")
    return results | facts


def classify(arguments: argparse.Namespace, path: Path, arms: Sequence[str] | None = None) -> dict[str, Any]:
    """Accuracy against labelled videos per class of the fine-tuned encoder and of what needs no pretraining.

    Writes `classify.json`, the scores of every test video, a plot, and the classifier of the most labels.
    """
    import numpy as np
    from tqdm import tqdm

    from video_ae.checkpoint import write_json
    from video_ae.transfer import ARMS, build, choose_videos, curve_of, fine_tune, label_efficiency, verdicts
    from video_ae.visualize import save_label_curves

    opened = open_run(arguments, path)
    model, folder = opened.model, opened.folder
    train, test, task = labelled(arguments, opened)
    recipe = cli.override(FineTuning(), vars(arguments))
    arms = arms or tuple(ARMS)
    labels = label_counts(arguments.labels_per_class, train)
    seeds = arguments.num_seeds or _SEEDS
    about: dict[str, Any] = {"labels_per_class": labels, "arms": arms, "truth": test.labels, "names": test.names}
    about |= {"seeds": seeds, "labelled_names": train.names, "recipe": str(recipe)}
    other_stream = stream_scores(arguments, about) if arguments.two_stream else None
    trainings = len(labels) * len(arms) * seeds
    every = 0.1 if sys.stderr.isatty() else 60  # seconds between two states of the bar; a log file wants few
    with tqdm(total=trainings, desc="fine-tuning", unit=" classifiers", mininterval=every, delay=1) as bar:
        scores = label_efficiency(
            model.encoder,
            train,
            test,
            labels,
            seeds=seeds,
            recipe=recipe,
            arms=arms,
            batch_size=arguments.batch_size,
            progress=bar.update,
        )
    curve = curve_of(scores, test.labels, labels, arms)
    words = verdicts(curve) if "scratch" in arms else []
    results: dict[str, Any] = {"curve": curve, "verdicts": words, "task": task, "class_names": train.class_names}
    results |= {"labelled_videos": len(train.labels), "test_videos": len(test.labels)}
    results |= {"arms": {arm: ARMS[arm] for arm in arms}, "recipe": dataclasses.asdict(recipe)}
    results |= opened.facts(arguments) | labelled_facts(opened)
    start_folder(folder, "classify")
    write_json(folder / "classify.json", results)
    np.savez_compressed(folder / "classify-scores.npz", scores=scores, **about)
    save_label_curves(folder / "classify.png", curve_lines(curve, arms))
    classifier = build("encoder_init", model.encoder, train, recipe, seed=0)
    fine_tune(classifier, train, choose_videos(train, labels[-1], 0), recipe, seed=0)
    classifier.save_pretrained(folder / "classifier")

    print(curve_table(curve, arms))
    print(f"\n{len(test.labels)} test videos of {len(train.class_names)} classes ({task}), {seeds} seeds")
    print("\n".join(words))
    print(f"plot       {folder / 'classify.png'}\nmetrics    {folder / 'classify.json'}")
    print(f"classifier {folder / 'classifier'} ({labels[-1]} labels per class, seed 0)")
    if other_stream is not None:
        fused = curve_of(np.add(scores, other_stream), test.labels, labels, arms)
        write_json(folder / "classify-two-stream.json", {"curve": fused, "other": str(arguments.two_stream)})
        print(f"\nscores averaged with those of {arguments.two_stream}:\n{curve_table(fused, arms)}")
    return results


def stream_scores(arguments: argparse.Namespace, about: dict[str, Any]) -> npt.NDArray[np.float32]:
    """The scores that another run, such as one of optical flow, got in the same classification.

    Raises FileNotFoundError where it was not classified yet, ValueError where anything differs but the stream.
    """
    import numpy as np

    path = arguments.two_stream / "evaluation" / difference(vars(arguments)) / "classify-scores.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scores; run the same classify task for {arguments.two_stream} first")
    with np.load(path, allow_pickle=False) as other:
        differing = [name for name, value in about.items() if not np.array_equal(other[name], np.asarray(value))]
        if differing:
            raise ValueError(f"{path}: other {', '.join(differing)}; classify both runs with the same flags")
        scores: npt.NDArray[np.float32] = other["scores"]
    return scores


def probe(arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """What the code contains: probes, clusters and neighbours, beside raw frames and an untrained encoder."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from datasets.batches import spread_indices
    from video_ae.checkpoint import write_json
    from video_ae.patches import unit_range
    from video_ae.probes import nearest
    from video_ae.probes import probe as probe_features
    from video_ae.transfer import build
    from video_ae.visualize import save_retrieval

    opened = open_run(arguments, path)
    model, device, folder = opened.model, opened.device, opened.folder
    train, test, task = labelled(arguments, opened)
    untrained = build("scratch", model.encoder, train, FineTuning(), seed=0).encoder
    counts = _LABELLED_CLIPS, arguments.clips or _GENERATED_CLIPS
    clips = [
        np.array(spread_indices(len(videos.videos), count)) for videos, count in zip((train, test), counts, strict=True)
    ]
    truths = [truth_of(videos, some) for videos, some in zip((train, test), clips, strict=True)]

    def features(what: str) -> list[npt.NDArray[np.float32]]:
        parts = []
        for videos, some in zip((train, test), clips, strict=True):
            rows = []
            for first in tqdm(range(0, len(some), arguments.batch_size), desc=what, leave=False, disable=None):
                batch = videos.clips.__getitems__(some[first : first + arguments.batch_size].tolist())
                if what == "raw frames":
                    rows.append(unit_range(batch).flatten(1))
                else:
                    encoder = model.encoder if what == "code" else untrained
                    rows.append(encoder.encode(batch.to(device)).cpu())
            parts.append(torch.cat(rows).numpy())
        return parts

    results: dict[str, Any] = {}
    kinds = ("code", "untrained", "raw frames")
    for what in tqdm(kinds, desc="probing", leave=False, disable=None):
        train_features, test_features = features(what)
        results[what.replace(" ", "_")] = probe_features(train_features, truths[0], test_features, truths[1])
        if what == "code":
            neighbours = nearest(train_features, test_features, _NEIGHBOURS)
    agree = truths[0]["class"][neighbours] == truths[1]["class"][:, None]
    results |= {"retrieval": {f"precision_at_{_NEIGHBOURS}": float(agree.mean())}, "task": task}
    results |= {"train_clips": len(clips[0]), "test_clips": len(clips[1])}
    results |= opened.facts(arguments) | labelled_facts(opened)
    start_folder(folder, "probe")
    write_json(folder / "probe.json", results)
    print(probe_table(results, kinds))
    print(f"\nclasses: accuracy; values: R2; clustering: NMI; {len(clips[0])} training, {len(clips[1])} test clips")
    print(f"of the {_NEIGHBOURS} nearest codes, {agree.mean():.3f} are of the same class")
    if not model.config.features:
        save_retrieval(
            folder / "probe-retrieval.png", retrieved(train, test, clips[1][:_DRAWN_CLIPS], clips[0][neighbours])
        )
        print(f"retrieval {folder / 'probe-retrieval.png'}")
    print(f"metrics   {folder / 'probe.json'}")
    return results


def compare(arguments: argparse.Namespace) -> None:
    """The paper's table "which pretraining": every run predicts and classifies; one table, one plot."""
    from video_ae.checkpoint import write_json
    from video_ae.transfer import ARMS
    from video_ae.visualize import save_label_curves

    folder = arguments.output_dir or Path("runs") / "compare"
    rows: dict[str, dict[str, Any]] = {}
    controls: dict[Any, list[dict[str, Any]]] = {}  # what needs no pretraining is the same for encoders of one shape
    curves = {}
    for number, path in enumerate(arguments.compare):
        print(f"\n{path}")
        arguments.output_dir = folder / f"{number}-{path.name}"  # the results in the runs' own folders stay
        opened = open_run(arguments, path)
        model = opened.model.config
        kind = " + ".join(f"conditional {name}" if name in model.conditional else name for name in model.decoders)
        shape = dataclasses.replace(model, decoders=(FUTURE,), conditional=(), future_frames=1), opened.data
        known = shape in controls
        predicted = predict(arguments, path)
        classified = classify(arguments, path, ("encoder_init", "frozen") if known else tuple(ARMS))["curve"]
        controls.setdefault(shape, classified)
        rows[str(path)] = {"model": kind, "classify": classified} | {name: predicted[name] for name in model.decoders}
        curves[f"{path}: {kind}"] = curve_lines(classified, ("encoder_init",))["encoder_init"]
        if not known:
            curves[f"{path}: from scratch"] = curve_lines(classified, ("scratch",))["scratch"]
        first = next(iter(rows.values()))["classify"]
        if [row["labels_per_class"] for row in classified] != [row["labels_per_class"] for row in first]:
            raise ValueError(f"{path}: other numbers of labels than the first run has; say --labels-per-class for all")
    write_json(folder / "compare.json", {"runs": rows})
    save_label_curves(folder / "compare.png", curves)
    print(f"\n{compare_table(rows, list(controls.values()))}")
    print(f"plot     {folder / 'compare.png'}\nmetrics  {folder / 'compare.json'}")


TASKS = {"predict": predict, "classify": classify, "probe": probe}
_RECIPE = tuple(field.name for field in dataclasses.fields(FineTuning))
_TASKS_OF_FLAG = {  # the tasks that read a flag that not all of them read
    "future_frames": {"predict"},
    "labels": {"classify", "probe"},
    **{name: {"classify"} for name in ("labels_per_class", "num_seeds", "two_stream", *_RECIPE)},
}


def evaluation_split(trained_on: DataConfig, data: DataConfig) -> str:
    """Which part of the data to evaluate on: never a clip that the model was trained on."""
    if data.dataset == "moving-mnist-file":
        return "all"
    if data.dataset == "array" and (data.dataset, data.data_dir) != (trained_on.dataset, trained_on.data_dir):
        return "all"
    return "test"


def refuse_other_split(trained_on: DataConfig, data: DataConfig) -> None:
    """Raises ValueError where what tests here may have trained there: another division of the same videos."""
    if data.data_dir is None or data.data_dir != trained_on.data_dir or data.generated or trained_on.generated:
        return  # a folder of digits, such as `data`, may hold the public test file too
    for name in ("dataset", "annotation_path", "fold", "group"):
        if getattr(data, name) != getattr(trained_on, name):
            flag = "--" + name.replace("_", "-")
            raise ValueError(
                f"{flag} divides the videos of this run otherwise than its training did, which may have seen those that"
                " test; train a run with it"
            )


def labelled(arguments: argparse.Namespace, opened: Opened) -> tuple[LabelledVideos, LabelledVideos, str]:
    """Labelled videos to train on and to test on, and what the labels are."""
    data, frames = opened.data, opened.model.config.input_frames
    if arguments.labels and not data.generated:
        raise ValueError(
            f"--labels changes nothing for --dataset {data.dataset}, which has its own classes; leave it out"
        )
    if "num_digits" in vars(arguments):
        raise ValueError("--num-digits changes nothing for labelled clips, which have one digit; leave it out")
    if arguments.clips and not data.generated:
        raise ValueError(f"--clips changes nothing for classes of --dataset {data.dataset}: all are used; leave it out")
    task = arguments.labels or DIGIT_LABELS[0]
    train = data.open_labelled("development", frames, task=task, clips=_LABELLED_CLIPS)
    test = data.open_labelled("test", frames, task=task, clips=arguments.clips or _GENERATED_CLIPS, seed=arguments.seed)
    if train.class_names != test.class_names:
        raise ValueError(f"found test classes {test.class_names}, expected those of training, {train.class_names}")
    return train, test, task if data.generated else "class"


def label_counts(given: list[int] | None, train: LabelledVideos) -> list[int]:
    """Numbers of labels per class: those given or, as far as there are videos, 1, 2, 5, 10 and all of a small set."""
    from video_ae.transfer import fewest_videos

    most = fewest_videos(train)
    if most == 0:
        lacking = [name for label, name in enumerate(train.class_names) if label not in train.labels]
        raise ValueError(f"no labelled videos of {', '.join(lacking)} to train on; add some or leave the class out")
    if given:
        return sorted(set(given))
    return sorted({count for count in (1, 2, 5, 10) if count <= most} | ({most} if most <= _SMALL_SET else set()))


def labelled_facts(opened: Opened) -> dict[str, Any]:
    """What is different about labelled clips: of generated ones, a clip with a label has one digit."""
    return {"num_digits": 1} if opened.data.generated else {}


def truth_of(videos: LabelledVideos, clips: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """What there is to find in the code of each clip: its class and whatever else is known about it."""
    values = {name: known[clips] for name, known in videos.values.items()}
    return {"class": videos.labels[videos.videos[clips]], **values}


def retrieved(
    train: LabelledVideos,
    test: LabelledVideos,
    queries: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.int64],
) -> list[list[tuple[npt.NDArray[np.float32], str, bool]]]:
    """Some test clips and their neighbours among the training clips: last frames, labels, whether they agree."""
    from video_ae.patches import unit_range

    def picture(videos: LabelledVideos, clip: int, expected: int) -> tuple[npt.NDArray[np.float32], str, bool]:
        label = int(videos.labels[videos.videos[clip]])
        frame = unit_range(videos.clips.__getitems__([clip])[0, -1]).numpy()
        return frame, videos.class_names[label], label == expected

    rows = []
    for query, found in zip(queries.tolist(), neighbours.tolist(), strict=False):
        expected = int(test.labels[test.videos[query]])
        rows.append([picture(test, query, expected), *(picture(train, clip, expected) for clip in found)])
    return rows


def difference(given: dict[str, Any]) -> str:
    """A folder name for what the flags change about the standard evaluation, empty where they change nothing."""
    names = [field.name for field in dataclasses.fields(DataConfig) if field.name != "download"]
    names += ["future_frames", "clips", "labels", "labels_per_class", "num_seeds", *_RECIPE, "seed"]
    standard = {"labels": DIGIT_LABELS[0], "num_seeds": _SEEDS, "seed": 0}
    changes = [f"{name}-{given[name]}" for name in names if given.get(name) not in (None, standard.get(name))]
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(changes)).strip("-.")


def main(arguments: argparse.Namespace) -> None:
    if arguments.compare:
        compare(arguments)
        return
    for task in arguments.tasks:
        TASKS[task](arguments, arguments.run)


def command(words: list[str] | None = None) -> int:
    arguments = parse_arguments(words)
    return cli.run(lambda: main(arguments), debug=arguments.debug)


if __name__ == "__main__":
    sys.exit(command())
