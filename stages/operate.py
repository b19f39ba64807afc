"""Where each model is operated: the threshold on validation streams that keeps the limit of false incidents an hour."""

from pathlib import Path

from tqdm import tqdm

from gunshot.alarms.det import det
from gunshot.alarms.operate import against, in_words, operate
from gunshot.alarms.score import gathered, score_streams
from gunshot.base import params, tables
from gunshot.detect import listener
from gunshot.models.model import load_model
from stages import paths_by_name


def main(streams: Path, out: Path, **models: Path) -> None:
    p = params.load("audio", "chunks", "context", "features", "detector")
    table = tables.read(streams / "streams.csv", tables.STREAM)
    scored = score_streams(table, streams, models, {}, p)
    curve = det(gathered(tqdm(scored, total=len(table), desc="operate", unit="stream"))["counts"], table)
    limit = p.detector.max_false_incidents_per_hour
    points = {name: operate(curve[curve["model"] == name], limit=limit) for name in models}
    points["int8"]["against_float"] = against(*(points[name]["validation"] for name in ("float", "int8")))
    for name, point in points.items():
        model = load_model(models[name])
        settings = listener.settings(model, p, logit=point["logit"])
        point["score"] = float(model.score_of(settings.on, windows=p.detector.windows))
        stated = {
            "settings": vars(settings) | {"lead": settings.lead},
            "params": {name: section.model_dump() for name, section in vars(p).items()},
        }
        tables.write_json(models[name].with_name("operating.json"), point | stated)
        print(f"operate: {name:6} score {point['score']:.4f}, {point['proof']}:", in_words(point["validation"]))
    tables.write(out, curve)


if __name__ == "__main__":
    main(**paths_by_name())
