"""gunshot tag-report: how good automatic onsets are."""

from gunshot.cli.app import app
from gunshot.cli.options import counted, print_names, report


@app.command()
def tag_report() -> None:
    """Measure automatic onsets: precision, recall and F1 beside onsets drawn at random. Writes reports/tagging.json.

    On simulated recordings made for this alone, by firing pattern and distance, and on those recordings below
    data/raw that data/tags/blind tags. An onset is right where it lies within 15 ms of a shot of a burst (shots
    closer than 250 ms), or 50 ms of another shot, one onset a shot.
    """
    from tqdm import tqdm

    from gunshot import tags
    from gunshot.base import params, pipeline, tables
    from gunshot.studies import onsets as onset_study

    p = params.load("audio", "simulate", "tags")
    options, workers, raw = p.tags.model_dump(), p.simulate.workers, pipeline.raw()
    shape = {"duration_s": p.simulate.duration_s, "distance_m": p.simulate.distance_m}
    simulated = onset_study.simulated(sr=p.audio.sr, options=options, workers=workers, **shape)
    total = onset_study.BANDS * onset_study.PER_BAND
    simulated = list(tqdm(simulated, total=total, desc="simulated", unit="recording"))
    real, blind = [], sorted((pipeline.by_hand() / "blind").glob("*.csv"))
    if blind and any(raw.glob("*/recordings.csv")):
        recordings = tables.recordings(raw)
        tagged, bad, waiting = tags.gather([], blind, recordings)
        bad = [f"{r['file']}: {r['value']}: {r['rule']}" for r in bad]
        print_names("line of blind tags is no use", "lines of blind tags are no use", bad)
        gone = [f"{c} ({counted(n, 'line')})" for c, n in waiting.items()]
        print_names("corpus of blind tags is not in data/raw", "corpora of blind tags are not in data/raw", gone)
        measured = onset_study.real(recordings, tagged, raw, sr=p.audio.sr, options=options, workers=workers)
        real = list(tqdm(measured, desc="real", unit="recording"))
    content, out = onset_study.report(simulated, real), report("tagging.json")
    tables.write_json(out, content)
    bursts = content["simulated"]
    for name, row in {"simulated bursts": bursts, "all simulated": bursts["all"], "real": content["real"]}.items():
        if row is None:
            print(f"{name}: no recording of data/tags/blind is in data/raw")
        else:
            shown = "  ".join(f"{key} {row[key]:.3f}" for key in ("precision", "recall", "f1"))
            print(f"{name}: {shown}  at random f1 {row['control']['f1']:.3f}  ({counted(row['shots'], 'shot')})")
    print(f"see {out}")
